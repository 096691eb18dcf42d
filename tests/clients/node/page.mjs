// Looks at the page of a running agent in a real Chromium, as a person does: every view, live values, keys, a phone,
// both colour schemes, and texts that want to be more than text. Prints what is wrong, and nothing when all is well.
//
//   node page.mjs URL FOLDER FILE    (FILE grows while it looks; screenshots go to FOLDER)
import { appendFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const [url, folder, file] = process.argv.slice(2);
const wrong = [];
const check = (so, what) => { if (!so) wrong.push(what); };
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });

/** The lowest contrast of any text that is seen (WCAG 2.2, 1.4.3), with the text. */
const contrast = () => {
  const parse = text => { const found = text.match(/[\d.]+/g).map(Number); return found.length < 4 ? [...found, 1] : found; };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = node => { for (; node; node = node.parentElement) { const color = parse(getComputedStyle(node).backgroundColor); if (color[3] === 1) return color; } return [255, 255, 255, 1]; };
  let least = [21, ''];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || getComputedStyle(node).visibility === 'hidden') continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, node.textContent.slice(0, 60)];
  }
  return least;
};

for (const [scheme, width] of [['light', 1200], ['dark', 1200], ['light', 320]]) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 800 } });
  const page = await context.newPage();
  const at = what => `${scheme} ${width}: ${what}`;
  let refused = 0;  // answers that must be refusals
  page.on('console', message => { if (['error', 'warning'].includes(message.type()) && !(message.text().includes('403') && refused-- > 0)) wrong.push(at(`console: ${message.text()}`)); });
  page.on('pageerror', error => wrong.push(at(`error: ${error}`)));
  page.on('dialog', dialog => { wrong.push(at(`dialog: ${dialog.message()}`)); dialog.dismiss(); });
  page.on('request', request => check(request.url().startsWith(url) || request.url().startsWith('data:'), at(`asks elsewhere: ${request.url()}`)));
  await page.goto(url);
  await page.getByText('need attention').waitFor({ timeout: 20000 });
  const views = { overview: '.card', streams: 'main table a', alerts: 'main h2', letters: 'main h2', config: 'main pre', numbers: 'main table', log: 'main tbody tr' };
  for (const [view, wanted] of Object.entries(views)) {
    await page.locator(`nav a[href="#${view}"]`).click();
    await page.locator(wanted).first().waitFor({ timeout: 20000 });
    await page.waitForTimeout(1500);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    check(wide <= width, at(`${view} is ${wide} px wide`));
    const [ratio, text] = await page.evaluate(contrast);
    check(ratio >= 4.5, at(`${view}: contrast ${ratio.toFixed(2)} of "${text}"`));
    await page.screenshot({ path: `${folder}/${view}-${scheme}-${width}.png` });
  }
  await page.locator('nav a[href="#streams"]').click();
  await page.getByRole('link', { name: 'readings', exact: true }).click();
  await page.getByText('onerror=').first().waitFor({ timeout: 20000 });
  await page.screenshot({ path: `${folder}/records-${scheme}-${width}.png` });
  await page.goto(`${url}#part/source%20log`);
  await page.getByRole('heading', { name: 'source log' }).waitFor({ timeout: 20000 });
  await page.getByText('source_frames_total').waitFor({ timeout: 20000 });
  await page.waitForTimeout(1500);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  check(wide <= width, at(`a source is ${wide} px wide`));
  await page.screenshot({ path: `${folder}/source-${scheme}-${width}.png` });
  await page.goto(`${url}#letters`);
  await page.locator('main tbody tr').first().waitFor({ timeout: 20000 });
  check(await page.getByText('more than the limit').count() > 0, at('no reason of a dead letter'));
  await page.screenshot({ path: `${folder}/letters-${scheme}-${width}.png` });
  refused = 1;
  await page.getByRole('button', { name: /Replay/ }).click();
  await page.getByText('changes need `page.token`').waitFor({ timeout: 20000 }).catch(() => wrong.push(at('a page without a token changes something')));
  check(await page.locator('main img, main script, main i').count() === 0, at('a payload became more than text'));
  check(await page.evaluate(() => window.hacked) === undefined, at('a payload ran'));
  await context.close();
}

const page = await (await browser.newContext({ viewport: { width: 1200, height: 800 } })).newPage();
await page.goto(url);
// Live: what is written is seen without a reload.
const rate = page.locator('.card', { hasText: 'log' }).first().locator('.rate');
await rate.waitFor();
await page.waitForTimeout(2500);
for (let n = 0; n < 100; n += 1) {
  appendFileSync(file, `{"n":${n}}\n`.repeat(20));
  await page.waitForTimeout(50);
}
await page.waitForFunction(() => [...document.querySelectorAll('.card')].some(card => /^[1-9]/.test(card.querySelector('.rate').textContent) && card.querySelector('.rate').textContent.endsWith('/s')), null, { timeout: 20000 })
  .catch(() => wrong.push('no rate rises while a file grows'));
check(await page.locator('.flow path').count() >= 3, 'the flow is not drawn');
check(await page.locator('.chart canvas').count() === 1, 'the chart is not drawn');
// Keys: the skip link first, then the views in order.
await page.keyboard.press('Tab');
check(await page.evaluate(() => document.activeElement.className) === 'skip', 'the first key does not lead to the content');
for (let n = 0; n < 3; n += 1) await page.keyboard.press('Tab');
check(await page.evaluate(() => document.activeElement.getAttribute('href')) === '#alerts', 'Tab does not lead through the views');
await page.keyboard.press('Enter');
await page.getByRole('heading', { name: 'Active alerts' }).waitFor({ timeout: 5000 }).catch(() => wrong.push('Enter opens no view'));
check(await page.locator('nav a[aria-current=page]').getAttribute('href') === '#alerts', 'the open view is not marked');
// The policy holds: a script that is not the page's own does not run.
await page.addScriptTag({ content: 'window.hacked = 1' }).catch(() => {});
check(await page.evaluate(() => window.hacked) === undefined, 'the policy lets a foreign script run');
await browser.close();
wrong.forEach(line => console.log(line));
process.exit(wrong.length ? 1 : 0);
