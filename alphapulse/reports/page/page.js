const palettes = JSON.parse(document.getElementById("palettes").textContent);
const media = window.matchMedia("(prefers-color-scheme: dark)");
const charts = JSON.parse(document.getElementById("charts").textContent);
function painted(value, palette) {
  if (typeof value === "string") return value[0] === "@" ? palette[value.slice(1)] : value;
  if (Array.isArray(value)) {
    return value.length && typeof value[0] === "object" && value[0] !== null ? value.map(v => painted(v, palette)) : value;
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, palette)]));
  }
  return value;
}
function draw(chart) {
  const place = document.getElementById("plot-" + chart.name);
  const palette = palettes[media.matches ? "dark" : "light"];
  const axis = {gridcolor: palette.grid, zerolinecolor: palette.grid, linecolor: palette.grid};
  const narrow = place.clientWidth < 500;
  const layout = painted(chart.layout, palette);
  const shared = {
    height: chart.height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: "system-ui, sans-serif", size: 12, color: palette.text},
    margin: {l: narrow ? 44 : 60, r: narrow ? 10 : 20, t: 24, b: 44}, hoverlabel: {align: "left"},
    legend: {orientation: "h", x: 0, y: -0.16, yanchor: "top"},
  };
  const merged = {...shared, ...layout};
  for (const key of ["xaxis", "yaxis"]) if (layout[key]) merged[key] = {...axis, ...layout[key]};
  const traces = painted(chart.traces, palette);
  for (const trace of traces) {
    if (trace.type === "parcoords") {
      trace.labelfont.color = trace.tickfont.color = palette.text;
      if (narrow) trace.dimensions = trace.dimensions.slice(0, 3).concat(trace.dimensions.slice(-1));
    }
    if (trace.type === "heatmap" && narrow) trace.colorbar = {...trace.colorbar, thickness: 8, tickfont: {size: 10}};
  }
  Plotly.react(place, traces, merged, {responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover"});
}
function drawAll() {
  const waiting = charts.slice();
  function next() {
    const chart = waiting.shift();
    if (!chart) { document.body.dataset.drawn = "yes"; return; }
    try { draw(chart); } catch (error) {
      document.getElementById("plot-" + chart.name).textContent = "This chart cannot be drawn here: " + error.message;
    }
    setTimeout(next, 0);
  }
  next();
}
media.addEventListener("change", drawAll);
drawAll();
