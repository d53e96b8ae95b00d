// Makes docs/images of what runs: the terminal of `make dev`, the services' pages, and one of Swagger UI.

import { mkdirSync } from 'node:fs';

import { urlOf, withBrowser, withStack } from './stack.mjs';

const folder = 'docs/images';
const COLOURS = {
  30: '#555', 31: '#f47067', 32: '#8ddb8c', 33: '#e0b354', 34: '#7aa8ff', 35: '#dcbdfb', 36: '#56d4dd', 37: '#ddd',
  90: '#888', 91: '#ff938a', 92: '#b4f1b4', 93: '#f0d080', 94: '#a5c5ff', 95: '#eddafe', 96: '#96f0f5', 97: '#fff',
};

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

// Lines of a terminal as HTML: colours, bold and dim are all that is used.
function html(lines) {
  let style = {};
  const css = () => Object.entries(style).map(([key, value]) => `${key}:${value}`).join(';');
  return lines.map((line) => {
    const parts = line.replaceAll('\r', '').split(/\x1b\[([\d;]*)[mK]/);
    return parts.map((part, place) => {
      if (place % 2 === 0) {
        return part && `<span style="${css()}">${escape(part)}</span>`;
      }
      for (const code of part.split(';').map(Number)) {
        if (code === 0) {
          style = {};
        } else if (code === 1) {
          style['font-weight'] = 'bold';
        } else if (code === 2) {
          style.opacity = 0.65;
        } else if (code === 3) {
          style['font-style'] = 'italic';
        } else if (COLOURS[code]) {
          style.color = COLOURS[code];
        }
      }
      return '';
    }).join('');
  }).join('\n');
}

async function terminal(browser, lines) {
  const page = await browser.newPage({ viewport: { width: 1000, height: 300 } });
  await page.setContent(`<body style="margin:0;background:#fff"><pre style="display:inline-block;margin:0;padding:16px 20px;
    border-radius:8px;background:#1b1f24;color:#e6e6e6;font:13px/1.45 'DejaVu Sans Mono',monospace;min-width:940px;
    max-width:940px;box-sizing:border-box;overflow:hidden"><span style="color:#8b949e">$</span> make dev\n${html(lines)}</pre>`);
  await page.locator('pre').screenshot({ path: `${folder}/dev.png` });
  await page.close();
}

async function picture(browser, name, path, use, height) {
  const page = await browser.newPage({ viewport: { width: 800, height } });
  await page.goto(`${urlOf(name)}${path}`);
  await use(page);
  await page.screenshot({ path: `${folder}/${path === '' ? name : `${name}-${path}`}.png` });
  await page.close();
}

async function askAll() {
  const ask = async (service, path, body) => {
    const options = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
    await (await fetch(`${urlOf(service)}${path}`, options)).text();
  };
  await ask('backend-api', 'api_1');
  await ask('data-api', '');
  await ask('multivac', 'multivac/data', { data: 'The stars and galaxies died and went out.' });
  await ask('randomize', 'api/randomizes', { word: 'string' });
  await ask('sre-kata', 'query?param=acx333x');
  await ask('stakefish', 'v1/tools/lookup?domain=example.com');
}

mkdirSync(folder, { recursive: true });
await withStack((lines) => withBrowser(async (browser) => {
  await askAll();
  // The logs are on their way for up to 100 ms; the last request's line ends the picture.
  while (!lines.some((line) => line.includes('v1/tools/lookup'))) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await terminal(browser, lines.filter((line) => !/readyz|healthz/.test(line)));

  await picture(browser, 'sre-kata', '', async (page) => {
    await page.getByLabel('Type or paste').fill('the quick brown fox jumps over the lazy dog');
    await page.locator('#answer', { hasText: '7 characters' }).waitFor();
  }, 900);
  for (const [domain, times] of [['example.com', 9], ['www.example.com', 5], ['localhost', 2]]) {
    for (let time = 0; time < times; time += 1) {
      await fetch(`${urlOf('stakefish')}v1/tools/lookup?domain=${domain}`);
    }
  }
  await picture(browser, 'stakefish', '', async (page) => {
    await page.getByLabel('Domain name').fill('example.com');
    await page.keyboard.press('Enter');
    await page.locator('#found li').first().waitFor();
    // Counts are at most 5 s old.
    await page.locator('#most tr', { hasText: 'localhost' }).waitFor();
  }, 860);
  await picture(browser, 'multivac', '', async (page) => {
    await page.getByLabel('Datum').fill('Matter and energy had ended.');
    await page.getByRole('button', { name: 'Feed it' }).click();
    await page.locator('#jobs td', { hasText: 'stored' }).waitFor();
    await page.getByRole('button', { name: 'Ask the last question' }).click();
    await page.locator('#answer:not(:empty)').waitFor();
  }, 860);
  await picture(browser, 'randomize', 'docs', (page) => page.locator('.opblock').last().waitFor(), 860);
}), true);
console.log(`${folder} was made`);
