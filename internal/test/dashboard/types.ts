// What deploy/grafana/dashboard.json has to be: Grafana's own types, made
// stricter. An unknown or misspelt field is an error, and every panel has an
// id, a place, a title, a description and a unit.
import type * as schema from '@grafana/schema';
import type * as barGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as gauge from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type * as raw from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';

// T as JSON holds it: the values of an enum in place of the enum.
type JSONOf<T> = unknown extends T
  ? T
  : T extends string
    ? `${T}`
    : T extends readonly (infer Item)[]
      ? JSONOf<Item>[]
      : T extends object
        ? { [Key in keyof T]: JSONOf<T[Key]> }
        : T;

type Require<T, Key extends keyof T> = T & { [K in Key]-?: NonNullable<T[K]> };

type DataSource = { type: 'prometheus'; uid: '${datasource}' };

// The data source's part, which @grafana/schema leaves open.
type Target = { refId: string; expr: string; legendFormat?: string } & (
  | { instant: true; format?: 'table' | 'time_series' }
  | { range: true }
);

type FieldConfig<Custom> = Omit<raw.FieldConfig, 'custom'> & { custom?: Partial<Custom> };

type Property<Custom> =
  | { [Key in keyof raw.FieldConfig & string]: { id: Key; value: raw.FieldConfig[Key] } }[keyof raw.FieldConfig & string]
  | { [Key in keyof Custom & string]: { id: `custom.${Key}`; value: Custom[Key] } }[keyof Custom & string];

type Matcher = { id: 'byName' | 'byRegexp' | 'byFrameRefID'; options: string };

type Panel<Type extends string, Options, Custom = Record<never, never>> = Require<
  Omit<raw.Panel, 'type' | 'datasource' | 'targets' | 'options' | 'fieldConfig'>,
  'id' | 'gridPos' | 'title' | 'description'
> & {
  type: Type;
  datasource: DataSource;
  targets: Target[];
  options: Partial<Options>;
  fieldConfig: {
    defaults: Require<FieldConfig<Custom>, 'unit'>;
    overrides: { matcher: Matcher; properties: Property<Custom>[] }[];
  };
};

// The types of panels that every Grafana since 10 has.
type AnyPanel =
  | Panel<'stat', stat.Options>
  | Panel<'gauge', gauge.Options>
  | Panel<'bargauge', barGauge.Options>
  | Panel<'table', table.Options, table.FieldConfig & schema.HideableFieldConfig>
  | Panel<'timeseries', timeSeries.Options, timeSeries.FieldConfig>
  | (Require<Omit<raw.Panel, 'type' | 'options' | 'targets'>, 'id' | 'gridPos' | 'title' | 'description'> & {
      type: 'text';
      options: text.Options;
    })
  | Require<raw.RowPanel, 'gridPos' | 'title'>;

export type Dashboard = JSONOf<
  Require<Omit<raw.Dashboard, 'panels'>, 'uid' | 'title' | 'description' | 'templating'> & { panels: AnyPanel[] }
>;
