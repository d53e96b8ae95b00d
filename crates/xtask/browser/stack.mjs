// What the scripts beside this one share: a running stack, and a browser.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

// PLAYWRIGHT is the package's folder: it stays out of the repository.
const { chromium } = createRequire(import.meta.url)(process.env.PLAYWRIGHT);

const offset = Number(process.env.PORT_OFFSET || 0);
const PORTS = { 'backend-api': 5002, 'data-api': 5001, multivac: 5003, randomize: 5000, 'sre-kata': 8003, stakefish: 3000 };

// Where a service is found, with a final slash.
export const urlOf = (service) => `http://127.0.0.1:${PORTS[service] + offset}/`;

// Starts all services as `make dev` does, calls `work` with the lines that they have printed so far, and stops them.
// In a terminal they print as they do in one.
export async function withStack(work, terminal = false) {
  const lines = [];
  const [program, ...options] = terminal
    ? ['script', '--quiet', '--flush', '--return', '--command', `'${process.env.XTASK}' dev`, '/dev/null']
    : [process.env.XTASK, 'dev'];
  const stack = spawn(program, options, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => stack.once('exit', resolve));
  const ready = new Promise((resolve) => {
    createInterface({ input: stack.stdout }).on('line', (line) => {
      lines.push(line);
      if (line.startsWith('Ctrl-C stops')) {
        resolve('ready');
      }
    });
  });
  try {
    if ((await Promise.race([ready, ended])) !== 'ready') {
      throw new Error(`the services did not start:\n${lines.join('\n')}`);
    }
    await work(lines);
  } finally {
    if (terminal) {
      stack.stdin.write('\x03');
    } else {
      stack.kill('SIGINT');
    }
    await ended;
  }
}

// Calls `work` with a browser.
export async function withBrowser(work) {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const folders = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];
  const places = folders.flatMap((folder) => names.map((name) => `${folder}/${name}`));
  const executablePath = [process.env.CHROMIUM, ...places].find((path) => path && existsSync(path));
  if (!executablePath) {
    throw new Error('there is no Chromium; install it, or say where it is: make pages-check CHROMIUM=/path/to/chromium');
  }
  // Its own sandbox does not start as root, as which containers run.
  const browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid() !== 0 });
  try {
    await work(browser);
  } finally {
    await browser.close();
  }
}
