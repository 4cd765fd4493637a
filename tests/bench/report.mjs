// The report as a table in Markdown, and as one page.

const round = (x) => (x === undefined ? '' : String(Number(x.toPrecision(3))));
const columns = ['measure', 'Pema', 'peer', 'peer’s', 'times better', 'goal'];

function rows({ measures }) {
  return measures.map(({ name, unit, ours, theirs, peer, ratio, goal }) => [
    name,
    `${round(ours)} ${unit}`,
    peer ?? '',
    theirs === undefined ? '' : `${round(theirs)} ${unit}`,
    round(ratio),
    round(ratio === undefined ? undefined : goal),
  ]);
}

export function table(report) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows(report).map(line)].join('\n');
}

const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

export function html(report) {
  const cells = (tag, list) => `<tr>${list.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Pema benchmark</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
  table { border-collapse: collapse; width: 100% }
  th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
  td:not(:first-child) { white-space: nowrap; font-variant-numeric: tabular-nums }
</style>
<h1>Pema benchmark</h1>
<p>${escape(report.machine)}; ${escape(report.date)}. Medians; peers and Pema took turns in one run.</p>
<table>
<thead>${cells('th', columns)}</thead>
<tbody>
${rows(report).map((row) => cells('td', row)).join('\n')}
</tbody>
</table>
</html>
`;
}
