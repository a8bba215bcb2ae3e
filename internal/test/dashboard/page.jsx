// The page that render.mjs takes the picture of: window.input's dashboard, with
// the results of its queries, drawn by Grafana's components.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/noto-emoji/400.css';
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createTheme,
  dateTime,
  FieldConfigOptionsRegistry,
  FieldType,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  ThemeContext,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

const { dashboard, variables, start, end } = window.input;
window.__grafana_public_path__ = '/public/';
const theme = createTheme({ colors: { mode: 'dark' }, typography: { fontFamily: 'Inter, "Noto Emoji", sans-serif' } });
const timeRange = { from: dateTime(start * 1000), to: dateTime(end * 1000), raw: { from: 'now-1h', to: 'now' } };

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    transformation: async () => transformer,
  }))
);

// What Grafana's Prometheus data source makes of the results of a query.
function frames({ refId, expr, format, instant, legendFormat, result }) {
  const times = (values) => ({ name: 'Time', type: FieldType.time, values });
  if (format === 'table') {
    const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
    return [
      toDataFrame({
        refId,
        fields: [
          times(result.map(({ value }) => value[0] * 1000)),
          ...labels.map((name) => ({ name, type: FieldType.string, values: result.map(({ metric }) => metric[name] ?? '') })),
          { name: `Value #${refId}`, type: FieldType.number, values: result.map(({ value }) => Number(value[1])) },
        ],
      }),
    ];
  }
  return result.map(({ metric, value, values = [value] }) => {
    const name = legendFormat?.replace(/{{\s*(\w+)\s*}}/g, (_, label) => metric[label] ?? '') ?? expr;
    // A step without a sample is a gap.
    const at = new Map(values.map(([time, sample]) => [Math.round(time * 1000), Number(sample)]));
    const all = [...at.keys()];
    const step = Math.min(...all.slice(1).map((time, i) => time - all[i]));
    const grid = instant || all.length < 2 ? all : Array.from({ length: Math.round((all.at(-1) - all[0]) / step) + 1 }, (_, i) => all[0] + i * step);
    return toDataFrame({
      refId,
      fields: [
        times(grid),
        { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: grid.map((time) => at.get(time) ?? null) },
      ],
    });
  });
}

// What the panel types add to a field's configuration where the JSON says nothing.
const custom = {
  timeseries: { axisPlacement: 'auto', hideFrom: {}, lineInterpolation: 'linear', scaleDistribution: { type: 'linear' }, spanNulls: false },
  table: { align: 'auto', cellOptions: { type: 'auto' } },
};

function withFieldConfig({ type, fieldConfig }, data) {
  const defaults = { ...fieldConfig.defaults, custom: { ...custom[type], ...fieldConfig.defaults.custom } };
  const ids = new Set([
    ...Object.keys(defaults),
    ...Object.keys(defaults.custom).map((name) => `custom.${name}`),
    ...fieldConfig.overrides.flatMap(({ properties }) => properties.map(({ id }) => id)),
  ]);
  ids.delete('custom');
  const items = [...ids].map((id) => ({
    id,
    path: id.replace(/^custom\./, ''),
    isCustom: id.startsWith('custom.'),
    name: id,
    process: identityOverrideProcessor,
    shouldApply: () => true,
  }));
  const fields = applyFieldOverrides({
    data,
    fieldConfig: { ...fieldConfig, defaults },
    fieldConfigRegistry: new FieldConfigOptionsRegistry(() => items),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(fields);
  return fields;
}

function Repeated({ panel, data, width, height, render, ...rest }) {
  const { fieldConfig, options } = panel;
  const getValues = () =>
    getFieldDisplayValues({ data, fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text) => text, theme, timeZone: 'utc' });
  const orientation = options.orientation === 'auto' ? (width > height ? 'vertical' : 'horizontal') : options.orientation;
  return (
    <VizRepeater getAlignmentFactors={getDisplayValueAlignmentFactors} source={data} renderCounter={0} renderValue={render} {...{ getValues, width, height, orientation, ...rest }} />
  );
}

const visualizations = {
  stat: (props) => {
    const { colorMode, graphMode, justifyMode, text, textMode, wideLayout } = props.panel.options;
    return (
      <Repeated
        {...props}
        autoGrid
        render={({ value: { display }, width, height, count, alignmentFactors }) => (
          <BigValue value={display} {...{ alignmentFactors, colorMode, count, graphMode, height, justifyMode, text, textMode, theme, wideLayout, width }} />
        )}
      />
    );
  },
  bargauge: (props) => {
    const { displayMode, minVizHeight, minVizWidth, namePlacement, showUnfilled, text, valueMode } = props.panel.options;
    return (
      <Repeated
        {...props}
        {...{ minVizHeight, minVizWidth }}
        itemSpacing={8}
        maxVizHeight={300}
        render={({ value: { display, field, view, colIndex }, width, height, orientation, alignmentFactors }) => (
          <BarGauge
            value={display}
            display={view?.getFieldDisplayProcessor(colIndex)}
            valueDisplayMode={valueMode}
            {...{ alignmentFactors, displayMode, field, height, namePlacement, orientation, showUnfilled, text, theme, width }}
          />
        )}
      />
    );
  },
  table: ({ panel, data, width, height }) => (
    <TableNG data={data[0]} sortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} enablePagination={panel.options.enablePagination} {...{ height, timeRange, width }} />
  ),
  timeseries: ({ panel, data, width, height }) => (
    <TimeSeries frames={data} legend={panel.options.legend} timeZone="utc" {...{ height, timeRange, width }}>
      {/* Room for a time at the very end of the axis. */}
      {(builder) => void builder.setPadding([null, 32, null, null])}
    </TimeSeries>
  ),
};

function Panel({ panel }) {
  const [data, setData] = useState();
  useEffect(() => {
    const subscription = transformDataFrame(panel.transformations ?? [], panel.targets.flatMap(frames)).subscribe((transformed) =>
      setData(withFieldConfig(panel, transformed))
    );
    return () => subscription.unsubscribe();
  }, [panel]);
  const { w, h } = panel.gridPos;
  const Visualization = visualizations[panel.type];
  return (
    <PanelChrome title={panel.title} description={panel.description} width={w * unit.x - 8} height={h * unit.y - 8}>
      {(width, height) => data && <Visualization {...{ panel, data, width, height }} />}
    </PanelChrome>
  );
}

// Grafana's grid: 24 columns, and rows of 30 pixels with 8 in between.
const unit = { x: (1600 - 24) / 24, y: 38 };

const secondary = { color: theme.colors.text.secondary };
const Variable = ({ label, value }) => (
  <span style={{ border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, display: 'inline-flex' }}>
    <span style={{ ...secondary, background: theme.colors.background.secondary, padding: '5px 8px' }}>{label}</span>
    <span style={{ background: theme.components.input.background, padding: '5px 12px' }}>{value}</span>
  </span>
);

function Dashboard() {
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * unit.y;
  return (
    <div style={{ background: theme.colors.background.canvas, boxSizing: 'border-box', overflow: 'hidden', padding: '12px 8px 12px 16px', width: 1600 }}>
      <div style={{ alignItems: 'center', display: 'flex', gap: 8, paddingBottom: 12 }}>
        <h1 style={{ fontSize: 20, margin: '0 16px 0 0' }}>{dashboard.title}</h1>
        {dashboard.templating.list.filter(({ hide }) => hide !== 2).map(({ name, label, type, includeAll }) => (
          <Variable key={name} label={label} value={type === 'datasource' ? 'Prometheus' : includeAll ? 'All' : variables[name]} />
        ))}
      </div>
      <div style={{ height, position: 'relative' }}>
        {dashboard.panels.map((panel) => (
          <div key={panel.id} style={{ left: panel.gridPos.x * unit.x, position: 'absolute', top: panel.gridPos.y * unit.y }}>
            {panel.type === 'row' ? <h2 style={{ fontSize: 15, lineHeight: '30px', margin: 0 }}>{panel.title}</h2> : <Panel panel={panel} />}
          </div>
        ))}
      </div>
    </div>
  );
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Dashboard />
  </ThemeContext.Provider>
);
