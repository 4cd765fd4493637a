// One report of how fast and how small Pema is, each measure beside a peer's in the same run.
// Started by `cargo xtask bench`, which builds what is measured.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

import { openBrowser } from './browser.mjs';
import { html, table } from './report.mjs';

const { PEMA_BIN, PEMA_WGPU_BIN, PEMA_BENCH_SITE, PEMA_SITE, PEMA_REPORT, CHROME } = process.env;
const out = PEMA_REPORT;
const full = { n: 64, d: 576, v: 49152, r: 128 };
const paper = { n: 2048, d: 576, v: 49152, r: 128 };
const MIB = 2 ** 20;

const measures = [];

/** Ratios above 1 are in our favour. */
function add({ name, unit, ours, theirs, peer, goal, better = 'lower' }) {
  const ratio = theirs === undefined ? undefined : better === 'lower' ? theirs / ours : ours / theirs;
  measures.push({ name, unit, ours, theirs, peer, ratio, goal, better });
  const beside = theirs === undefined ? '' : `, ${peer} ${round(theirs)}: ${round(ratio)} times`;
  console.log(`${name}: ${round(ours)} ${unit}${beside}`);
}

const round = (x) => Number(x.toPrecision(3));
const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
const words = ({ n, d, v, r }) => `n ${n}, d ${d}, v ${v}, r ${r}`;

/** What a step has beside the head: thin products and the optimiser. */
const addSmall = (where, ours, theirs) => add({ name: `products with A and B, and Adam: ${where}`, unit: 's', ours, theirs, peer: 'a step’s losses and gradients' });

/** Steps of each kind in turn, so that what else the machine does falls on all alike. */
async function inTurns(steps, rounds) {
  const seconds = steps.map(() => []);
  for (const step of steps) await step();
  for (let round = 0; round < rounds; round++) {
    for (const [i, step] of steps.entries()) seconds[i].push(await step());
  }
  return seconds.map(median);
}

async function inTheBrowser() {
  const browser = await openBrowser({ executable: CHROME, site: PEMA_BENCH_SITE });
  try {
    const software = await browser.isSoftware();
    // In software the full shape takes plain operations minutes.
    const shape = software ? { ...full, v: 8192 } : full;
    const gpu = [
      browser.pema({ webgpu: true, ...shape }),
      browser.pema({ webgpu: true, plain: true, ...shape }),
      browser.tf('webgpu', shape),
      browser.pema({ webgpu: true, small: true, ...shape }),
    ];
    const [ours, plain, tf, small] = await inTurns(gpu, software ? 1 : 5);
    const where = `WebGPU${software ? ' in software' : ''}`;
    add({ name: `training step, ${where}, ${words(shape)}`, unit: 's', ours, theirs: plain, peer: 'plain Burn operations', goal: 8 });
    add({ name: `training step, ${where}, ${words(shape)}`, unit: 's', ours, theirs: tf, peer: 'TensorFlow.js WebGPU', goal: 8 });
    addSmall(where, small, ours);
    // Two products with the head, a multiplication and an addition each.
    add({ name: `head loss, ${where}`, unit: 'GFLOP/s', ours: (4 * shape.n * shape.d * shape.v) / ours / 1e9, better: 'higher' });

    const workers = Math.min(8, cpus().length);
    const cpu = [
      browser.pema({ webgpu: false, workers, ...full }),
      browser.pema({ webgpu: false, ...full }),
      browser.tf('wasm', full),
      browser.pema({ webgpu: false, small: true, ...full }),
    ];
    const [spread, alone, wasm, little] = await inTurns(cpu, 5);
    const tab = `training step, ${workers} CPU workers in the tab, ${words(full)}`;
    add({ name: tab, unit: 's', ours: spread, theirs: wasm, peer: 'TensorFlow.js wasm', goal: 8 });
    add({ name: tab, unit: 's', ours: spread, theirs: alone, peer: 'one worker', goal: 0.85 * workers });

    addSmall(`${workers} CPU workers in the tab`, little, spread);

    // Beyond the head, what a step holds does not depend on v once there is more than one chunk.
    const held = software ? { ...paper, v: 4096 } : paper;
    const bytes = (await browser.bytesOfAStep(held)) - held.v * held.d * 2;
    add({ name: `device memory of a step beside the head, ${words(held)}`, unit: 'MiB', ours: bytes / MIB, theirs: (3 * paper.n * paper.v * 4) / MIB, peer: 'three [n, v] tensors of f32', goal: 3 * paper.n * paper.v * 4 / (64 * MIB) });
  } finally {
    await browser.close();
  }
}

const bench = (program, ...options) => median(JSON.parse(execFileSync(program, ['bench', ...options], { encoding: 'utf8' })).seconds);
const sizesOf = (shape) => Object.entries(shape).flatMap(([name, size]) => [`-${name}`, String(size)]);
const native = (shape, steps = 3, ...options) => bench(PEMA_BIN, '--steps', String(steps), ...options, ...sizesOf(shape));

/** On a GPU, or on Mesa's lavapipe, which computes with the CPU's vector units. */
function onWgpu() {
  if (!PEMA_WGPU_BIN) return console.log('no Vulkan driver: native wgpu is left out (Mesa’s lavapipe is one for CPUs)');
  const rows = 1024;
  const peak = (2 * rows ** 3) / bench(PEMA_BIN, '--matmul', String(rows)) / 1e9;
  const seconds = bench(PEMA_WGPU_BIN, '--device', 'wgpu', '--steps', '3', ...sizesOf(full));
  const ours = (4 * full.n * full.d * full.v) / seconds / 1e9;
  add({ name: `head loss, native wgpu, ${words(full)}`, unit: 'GFLOP/s', ours, theirs: peak, peer: `the CPU’s matrix product of ${rows} rows`, better: 'higher' });
  const cuda = pytorch(full, 'cuda');
  if (cuda) add({ name: `training step, native wgpu, ${words(full)}`, unit: 's', ours: seconds, theirs: median(cuda.seconds), peer: `PyTorch ${cuda.version} with CUDA`, goal: 1 });
}

/** The step of a shape in PyTorch, if it is there. */
function pytorch(shape, device) {
  try {
    return JSON.parse(execFileSync('python3', [join(import.meta.dirname, 'step.py'), JSON.stringify(shape), device], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  } catch {
    console.log(`no PyTorch for ${device} in python3: its step is left out`);
  }
}

function natively() {
  const torch = pytorch(full, 'cpu');
  const ours = native(full, 5);
  add({ name: `training step, native CPU, ${words(full)}`, unit: 's', ours, theirs: torch && median(torch.seconds), peer: torch && `PyTorch ${torch.version}, ${torch.threads} threads`, goal: 1 });

  addSmall('native CPU', native(full, 5, '--without-head'), ours);

  for (const [size, values] of [['n', [16, 64, 256]], ['v', [12288, 24576, 49152]], ['d', [144, 288, 576]], ['r', [32, 128, 512]]]) {
    for (const value of values) {
      const shape = { ...full, v: 24576, [size]: value };
      add({ name: `growth with ${size}: native CPU, ${words(shape)}`, unit: 's', ours: native(shape) });
    }
  }
}

function sizes() {
  const assets = join(PEMA_SITE, 'assets');
  const wasm = readFileSync(join(assets, readdirSync(assets).find((name) => name.endsWith('.wasm'))));
  const brotli = brotliCompressSync(wasm, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length } });
  for (const [kind, bytes] of [['raw', wasm.length], ['gzip', gzipSync(wasm, { level: 9 }).length], ['brotli', brotli.length]]) {
    add({ name: `wasm, ${kind}`, unit: 'MiB', ours: bytes / MIB });
  }
}

sizes();
natively();
onWgpu();
await inTheBrowser();

const machine = `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
const report = { machine, date: new Date().toISOString().slice(0, 10), measures };
mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
writeFileSync(join(out, 'report.html'), html(report));
console.log(`\n${table(report)}\n${join(out, 'report.html')}`);
