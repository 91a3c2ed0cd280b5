// Draws each chart from the table beside it, and again whenever the table or the theme has changed.
"use strict";

{
  const HEIGHT = 170;
  const charts = new Map();
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);

  // The stylesheet's colours as the canvas understands them.
  const colour = (name) => {
    probe.className = "";
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const seriesColour = (name) => {
    probe.className = name;
    probe.style.color = "var(--c)";
    return getComputedStyle(probe).color;
  };
  const faded = (rgb, part) => rgb.replace("rgb(", "rgba(").replace(")", `, ${part})`);

  const short = (value) => Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
  const words = {
    calls: (value) => short(value),
    usd: (value) => (value === 0 ? "$0" : `$${value < 1 ? Number(value.toPrecision(2)) : short(value)}`),
    ms: (value) => (value >= 1000 ? `${Number((value / 1000).toPrecision(3))} s` : `${Number(value.toPrecision(3))} ms`),
  };

  // How the time axis speaks, by the distance of its ticks in seconds: 24 hours, and the day where it begins.
  const day = "\n{D} {MMM}";
  const clock = [
    [86400 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{D} {MMM}", null, null, null, null, null, null, 1],
    [60, "{HH}:{mm}", day, null, day, null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", day, null, day, null, null, null, 1],
  ];

  // Calls are counted: their axis has no halves.
  const whole = [...Array(10).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

  const moment = uPlot.fmtDate("{D} {MMM} {HH}:{mm}");

  const read = (figure) => {
    const heads = [...figure.querySelectorAll("details thead th")].slice(1);
    const rows = [...figure.querySelectorAll("details tbody tr")];
    const at = rows.map((row) => Number(row.cells[0].dataset.t));
    const columns = heads.map((_, place) =>
      rows.map((row) => (row.cells[place + 1].dataset.v === undefined ? null : Number(row.cells[place + 1].dataset.v))),
    );
    return { heads, at, columns };
  };

  // Layers lie on each other: each is drawn up to the sum of itself and those below.
  const stacked = (columns) => {
    const sums = [];
    columns.forEach((column, place) =>
      sums.push(column.map((value, row) => (value || 0) + (place ? sums[place - 1][row] : 0))),
    );
    return sums;
  };

  // Lines join what is there over gaps; a value without any other to be joined with is shown as a point.
  const lone = (chart, series) => {
    const there = [...chart.data[series].keys()].filter((row) => chart.data[series][row] != null);
    return there.length === 1 ? there : [];
  };

  const draw = (figure) => {
    const plot = figure.querySelector(".plot");
    if (!plot) return;
    const { heads, at, columns } = read(figure);
    const stack = figure.dataset.kind === "stack";
    const say = words[figure.dataset.unit];
    const data = stack ? [at, ...stacked(columns).reverse()] : [at, ...columns];
    const ordered = stack ? heads.map((_, place) => heads.length - 1 - place) : heads.map((_, place) => place);
    const key = heads.map((head) => head.textContent).join("|") + getComputedStyle(document.body).color;
    const known = charts.get(figure.id);
    if (known && known.key === key && known.plot === plot) {
      known.columns = columns;
      known.chart.setData(data);
      return;
    }
    known?.chart.destroy();
    plot.replaceChildren();
    const entry = { key, plot, columns };
    const dim = colour("--dim");
    const line = colour("--line");
    const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const options = {
      width: plot.clientWidth,
      height: HEIGHT,
      padding: [8, 16, 0, 0],
      cursor: { points: { show: !stack }, y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, space: 60, size: 36, gap: 6, values: clock },
        { ...axis, size: 54, values: (_, ticks) => ticks.map(say), ...(figure.dataset.unit === "calls" ? { incrs: whole } : {}) },
      ],
      series: [
        { label: " ", value: (_, at) => (at === null || at === undefined ? "" : moment(new Date(at * 1000))) },
        ...ordered.map((place) => {
          const stroke = seriesColour(heads[place].dataset.colour);
          return {
            label: heads[place].textContent,
            stroke,
            width: stack ? 0 : 1.75,
            fill: stack ? stroke : undefined,
            points: stack ? { show: false } : { show: true, filter: lone, size: 7, fill: stroke },
            spanGaps: true,
            paths: stack ? uPlot.paths.bars({ size: [0.86, 40], gap: 0 }) : uPlot.paths.linear(),
            dash: !stack && place === 2 ? [5, 3] : undefined,
            value: (_, __, ___, row) => {
              const value = row === null ? null : entry.columns[place][row];
              return value === null || value === undefined ? "" : say(value);
            },
          };
        }),
      ],
    };
    entry.chart = new uPlot(options, data, plot);
    charts.set(figure.id, entry);
  };

  const drawAll = () => document.querySelectorAll("figure.chart").forEach(draw);
  drawAll();
  document.addEventListener("aegis:fresh", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  new ResizeObserver(() => {
    for (const { chart, plot } of charts.values()) {
      if (plot.isConnected && plot.clientWidth) chart.setSize({ width: plot.clientWidth, height: HEIGHT });
    }
  }).observe(document.querySelector("main"));
}
