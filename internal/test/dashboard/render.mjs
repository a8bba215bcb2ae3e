// Renders deploy/grafana/dashboard.png: the dashboard with what a Prometheus
// answers to its queries, drawn in headless Chromium by Grafana's own UI
// components and transformations (page.jsx). It is not a screenshot of Grafana.
//
//   npm run render -- http://localhost:9090 [picture.png]
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import UPNG from 'upng-js';

const here = dirname(fileURLToPath(import.meta.url));
const [prometheus, picture = join(here, '../../../deploy/grafana/dashboard.png')] = process.argv.slice(2);
if (!prometheus) {
  console.error('usage: npm run render -- PROMETHEUS_URL [PICTURE]');
  process.exit(2);
}
const dashboard = JSON.parse(readFileSync(join(here, '../../../deploy/grafana/dashboard.json'), 'utf8'));

// Every filter is at All; the other variables are at their defaults.
const variables = { __rate_interval: '1m', __interval: '15s', __range: '1h' };
for (const { name, allValue, current } of dashboard.templating.list) variables[name] = allValue ?? current.value;
const interpolate = (text) => text.replace(/\$\{?(\w+)\}?/g, (whole, name) => variables[name] ?? whole);

async function ask(path, parameters) {
  const response = await fetch(new URL(`api/v1/${path}`, prometheus.replace(/\/*$/, '/')), {
    method: 'POST',
    body: new URLSearchParams(parameters),
  });
  const { data, error } = await response.json();
  if (error) throw new Error(`${error}: ${parameters.query}`);
  return data.result;
}

// The graphs show what the Prometheus has, of the last hour at most, without
// the first minute, whose rates are not there yet.
const end = Date.now() / 1000;
const [oldest] = await ask('query', { query: 'min(min_over_time(timestamp(truefoundry_up)[1h:5s]))', time: end });
const start = Math.min(Number(oldest?.value[1]) + 75, end - 30);
const step = Math.max(1, Math.ceil((end - start) / 300));

for (const panel of dashboard.panels) {
  for (const target of panel.targets ?? []) {
    const query = interpolate(target.expr);
    target.result = target.instant
      ? await ask('query', { query, time: end })
      : await ask('query_range', { query, start, end, step });
    if (target.result.length === 0) throw new Error(`"${panel.title}", ${target.refId}: nothing to show`);
  }
  panel.title = interpolate(panel.title);
}

const { outputFiles } = await build({
  entryPoints: [join(here, 'page.jsx')],
  bundle: true,
  define: { global: 'window', 'process.env.NODE_ENV': '"production"' },
  jsx: 'automatic',
  loader: { '.ttf': 'empty', '.woff': 'empty', '.woff2': 'dataurl' },
  logLevel: 'error',
  outdir: 'none',
  write: false,
});
const file = (suffix) => outputFiles.find(({ path }) => path.endsWith(suffix)).text;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-lcd-text', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1600, height: 2200 }, timezoneId: 'UTC', locale: 'en-GB' });
  const failed = [];
  page.on('pageerror', (error) => failed.push(error.stack));
  // Nothing goes over the network: the page and Grafana's icons are answered here.
  await page.route('**/*', (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === '/') return route.fulfill({ contentType: 'text/html', body: '<!doctype html><div id="root"></div>' });
    const icon = join(here, 'node_modules/@grafana/ui/dist', pathname.replace('/build/', '/'));
    return existsSync(icon) ? route.fulfill({ path: icon }) : route.abort();
  });
  await page.goto('http://dashboard.invalid/');
  await page.addStyleTag({ content: file('.css') });
  await page.evaluate((input) => Object.assign(window, { input }), { dashboard, variables, start, end });
  await page.addScriptTag({ content: file('.js') });
  // It is drawn when all graphs are there, and half a second goes by without a change.
  const graphs = dashboard.panels.filter(({ type }) => type === 'timeseries').length;
  await page.waitForFunction(
    (canvases) => {
      const { before } = window;
      window.before = document.body.innerHTML;
      return window.before === before && document.querySelectorAll('canvas').length >= canvases;
    },
    graphs,
    { polling: 500, timeout: 60_000 }
  );
  await page.evaluate(() => document.fonts.ready);
  const shot = UPNG.decode(await page.locator('#root > div').screenshot({ animations: 'disabled' }));
  if (failed.length > 0) throw new Error(failed.join('\n'));
  // 256 colours look the same, at half the size.
  writeFileSync(picture, Buffer.from(UPNG.encode(UPNG.toRGBA8(shot), shot.width, shot.height, 256)));
} finally {
  await browser.close();
}
