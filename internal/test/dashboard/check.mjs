// Checks deploy/grafana/dashboard.json: its types against Grafana's own
// (types.ts), how it is written, that ids are unique, and that the panels
// neither overlap nor leave gaps. No Grafana and no Prometheus is needed.
//
//   npm run check
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const text = readFileSync(join(here, '../../../deploy/grafana/dashboard.json'), 'utf8');
const { panels } = JSON.parse(text);
const errors = [];

if (text !== JSON.stringify(JSON.parse(text), null, 2) + '\n') {
  errors.push('not written with an indentation of two spaces, and one newline at the end');
}

const taken = new Map();
for (const { id, title, gridPos } of panels) {
  for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      const there = taken.get(`${x},${y}`);
      if (there) errors.push(`"${title}" overlaps "${there}" at ${x},${y}`);
      taken.set(`${x},${y}`, title);
    }
  }
  if (panels.filter((other) => other.id === id).length > 1) errors.push(`"${title}": the id ${id} is not unique`);
}
const height = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
if (taken.size !== 24 * height) errors.push(`${24 * height - taken.size} cells of the grid are empty`);

// The lines of the generated file are those of the JSON, so that errors name them.
const generated = join(here, '.build/dashboard.json.ts');
mkdirSync(join(here, '.build'), { recursive: true });
writeFileSync(generated, `import type { Dashboard } from '../types'; export default ${text.trimEnd()} satisfies Dashboard;\n`);
try {
  execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '--project', here], { encoding: 'utf8' });
} catch (error) {
  errors.push(error.stdout || error.message);
}

if (errors.length > 0) {
  console.error(errors.join('\n'));
  process.exit(1);
}
console.log(`dashboard.json: ${panels.length} panels, well typed and well placed`);
