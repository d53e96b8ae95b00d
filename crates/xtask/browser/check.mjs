// The services' pages in a real browser: what they show, by keyboard too, in light and dark, and that nothing is
// blocked by their policy, loaded from elsewhere, or reported as an error.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { urlOf, withBrowser, withStack } from './stack.mjs';

const axe = createRequire(import.meta.url).resolve(process.env.AXE);

const pages = {
  multivac: {
    title: 'MultiVAC',
    async use(page) {
      await page.getByLabel('Datum').fill('<b>from the page</b>');
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await page.getByText('Data updated').or(page.locator('#message:not(:empty)')).first().waitFor();
      await page.locator('#jobs td', { hasText: '<b>from the page</b>' }).waitFor();
      await page.getByRole('button', { name: 'Ask the last question' }).click();
      await page.locator('#answer:not(:empty)').waitFor();
      await page.locator('#length', { hasText: /^\d/ }).waitFor();
    },
  },
  'sre-kata': {
    title: 'sre-kata',
    async use(page) {
      const answer = page.locator('#answer');
      await answer.filter({ hasText: '2 characters occur more than once.' }).waitFor();
      assert.deepEqual(await page.locator('mark').allTextContents(), ['x', '333', 'x']);
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'param', 'the text is the first stop');
      await page.keyboard.press('Control+a');
      // What is typed is text, and code points are told apart.
      await page.keyboard.type('<i>éé🦀🦀a ');
      await page.keyboard.insertText('e\u0301e\u0301');
      await answer.filter({ hasText: '4 characters occur more than once.' }).waitFor();
      const rows = await page.locator('#often tr').allInnerTexts();
      const found = rows.map((row) => row.split('\t').slice(1).join(' '));
      assert.deepEqual(found, ['U+00E9 2', 'U+1F980 2', 'U+0065 2', 'U+0301 2']);
      await page.keyboard.press('Control+a');
      await page.keyboard.type('a');
      await page.getByText('At least two characters are needed.').waitFor();
      assert.equal(await answer.textContent(), '');
      await page.getByLabel('Type or paste').fill('acx333x');
      await answer.filter({ hasText: '2 characters' }).waitFor();
    },
  },
  stakefish: {
    title: 'stakefish',
    async use(page) {
      await page.getByLabel('Domain name').fill('EXAMPLE.com.');
      await page.keyboard.press('Enter');
      await page.getByText(/^example\.com has /).waitFor();
      const address = await page.locator('#found li').first().textContent();
      assert.match(address, /^\d+\.\d+\.\d+\.\d+$/);
      await page.locator('#history tr', { hasText: 'example.com' }).first().waitFor();
      const before = await page.locator('#history time').count();
      const newest = () => page.locator('#history time').first().getAttribute('datetime');
      const shown = await newest();
      // The history grows by itself, by what others look up.
      const answer = await fetch(new URL('v1/tools/lookup?domain=example.com', page.url()));
      assert.equal(answer.status, 200);
      await page.waitForFunction((old) => document.querySelector('#history time').dateTime !== old, shown);
      assert.ok((await page.locator('#history time').count()) > before);
      await page.locator('#most tr', { hasText: 'example.com' }).locator('.bar').waitFor();
      const width = await page.locator('.bar').first().evaluate((bar) => bar.getBoundingClientRect().width);
      assert.ok(width > 50, `the longest bar is ${width} pixels wide`);
      assert.ok(!(await page.locator('#most tr').allInnerTexts()).some((row) => /\t0$/.test(row)), 'who asked nothing has no bar');
      await page.getByLabel('Domain name').fill('1.2.3.4');
      await page.keyboard.press('Enter');
      await page.getByText(/^422: .*not an address/).waitFor();
      await page.getByLabel('Domain name').fill('nobody.invalid');
      await page.getByRole('button', { name: 'Look it up' }).click();
      await page.getByText(/^404: /).waitFor();
    },
    // What the service refuses is an error in the console, whoever asks.
    refused: /status of (404|422)/,
  },
};

// Fails with what the page complains about while `work` runs.
async function quietly(context, refused, work) {
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (message.type() === 'error' && !(refused && refused.test(message.text()))) {
      complaints.push(message.text());
    }
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol !== 'data:' && url.hostname !== '127.0.0.1') {
      complaints.push(`asks ${url}`);
    }
  });
  await work(page);
  assert.deepEqual(complaints, []);
  await page.close();
}

// What axe-core finds wrong for those who cannot see, or see little.
async function accessible(page, what) {
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(found, [], what);
}

async function check(browser, name) {
  const { title, use, refused } = pages[name];
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ colorScheme, viewport: { width: 900, height: 900 } });
    context.setDefaultTimeout(20_000);
    // By the debugger's protocol: the page's own policy would refuse the script.
    await context.addInitScript({ path: axe });
    await quietly(context, refused, async (page) => {
      await page.goto(urlOf(name));
      assert.equal(await page.title(), title);
      await use(page);
      await accessible(page, `${name}, ${colorScheme}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${name} scrolls sideways`);
      await page.setViewportSize({ width: 360, height: 700 });
      const narrow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(narrow <= 0, `${name} scrolls sideways on a telephone`);
      for (const link of await page.locator('footer a').all()) {
        const url = await link.evaluate((element) => element.href);
        assert.equal((await fetch(url)).status, 200, url);
      }
    });
    await context.close();
    console.log(`${name}: / in ${colorScheme}`);
  }
}

async function checkDocs(browser, name) {
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ colorScheme });
    context.setDefaultTimeout(20_000);
    await quietly(context, undefined, async (page) => {
      await page.goto(`${urlOf(name)}docs`);
      await page.locator('.opblock').first().waitFor();
      assert.equal(await page.title(), name);
      const background = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
      const [red] = background.match(/\d+/g).map(Number);
      const isDark = background !== 'rgba(0, 0, 0, 0)' && red < 100;
      assert.equal(isDark, colorScheme === 'dark', `${name}: the background is ${background}`);
      const readme = await page.getByRole('link', { name: 'README' }).evaluate((element) => element.href);
      assert.match(await (await fetch(readme)).text(), new RegExp(`^# ${name}`));
    });
    await context.close();
  }
  console.log(`${name}: /docs in light and dark`);
}

async function checkWithoutScripts(browser) {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(urlOf('sre-kata'));
  await page.getByRole('button', { name: 'Count' }).click();
  assert.match(await page.locator('body').innerText(), /in acx333x is 2!/);
  await page.goto(urlOf('stakefish'));
  await page.getByLabel('Domain name').fill('example.com');
  await page.getByRole('button', { name: 'Look it up' }).click();
  assert.match(await page.locator('body').innerText(), /"domain":"example\.com"/);
  await context.close();
  console.log('without scripts: the forms still ask');
}

await withStack(() => withBrowser(async (browser) => {
  for (const name of Object.keys(pages)) {
    await check(browser, name);
  }
  for (const name of ['backend-api', 'data-api', 'multivac', 'randomize', 'sre-kata', 'stakefish']) {
    await checkDocs(browser, name);
  }
  for (const name of ['backend-api', 'randomize']) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(urlOf(name));
    assert.equal(page.url(), `${urlOf(name)}docs`, 'where there is no page, people are shown the interface');
    await context.close();
  }
  await checkWithoutScripts(browser);
}));
console.log('all pages passed');
