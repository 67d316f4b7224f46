// Looks at pages in a browser: `node look.mjs BROWSER`. Each line of its input is the path of a page; each line of its
// output says what was found there, as JSON.
import { createInterface } from "node:readline";
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import axe from "axe-core";
import { HtmlValidate } from "html-validate";
import { chromium } from "playwright-core";

const PAPER = 718; // pixels between the margins of A4, 10 mm wide
const validator = new HtmlValidate({
  extends: ["html-validate:standard"],
  rules: { "no-inline-style": "off", "no-redundant-role": "off" },
});

const violations = async (page) => {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => window.axe.run({ exclude: ["svg > g"] }, { resultTypes: ["violations"] }));
  return found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target}`));
};
// What sticks out: of the page where it cannot be scrolled, and of the window or a box around it. A figure may stick out
// of a box that scrolls, where a keyboard can scroll it too; and what only a screen reader reads has a box of one pixel.
const wide = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
const cut = () => {
  const boxes = (part) => (part ? [part, ...boxes(part.parentElement)] : []);
  const clips = (box) => getComputedStyle(box).overflowX !== "visible" && box.clientWidth > 1;
  const scrolls = (box) => box.matches("figure > .scroll[tabindex]") && getComputedStyle(box).overflowX === "auto";
  const within = (part, box) => {
    const [inner, outer] = [part, box].map((one) => one.getBoundingClientRect());
    return inner.left >= outer.left - 1 && inner.right <= outer.right + 1;
  };
  const whole = (part) => {
    const [, ...around] = boxes(part);
    const box = around.find((one) => clips(one) || one === document.documentElement);
    return within(part, box) || (part.matches("svg") && scrolls(box)) || part.closest(".stacked > thead");
  };
  return [...document.querySelectorAll("body, body :not(svg *)")]
    .filter((part) => part.checkVisibility() && part.getClientRects().length && !whole(part))
    .map((part) => `${part.tagName} ${part.className?.baseVal ?? part.className}: ${part.textContent.trim().slice(0, 40)}`);
};
const hidden = () =>
  [...document.querySelectorAll("details > :not(summary)")]
    .filter((part) => !part.checkVisibility() || part.getBoundingClientRect().height === 0)
    .map((part) => part.textContent.trim().slice(0, 40));
// What paper cuts in two: figures taller than A4, and what may be split; and columns so thin that short words fall apart.
const split = () =>
  [...document.querySelectorAll("figure, tr, pre, .cards li")]
    .filter((part) => getComputedStyle(part).breakInside !== "avoid" || part.querySelector("svg")?.clientHeight > 1000)
    .map((part) => part.textContent.trim().slice(0, 40));
const thin = () =>
  [...document.querySelectorAll("th, td")]
    .flatMap((cell) => [...cell.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && cell.clientWidth > 1))
    .flatMap((text) => [...text.data.matchAll(/[A-Za-z]{2,12}/g)].map((word) => [text, word]))
    .filter(([text, word]) => {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      return new Set([...range.getClientRects()].map((line) => line.top)).size > 1;
    })
    .map(([text, word]) => `${word[0]} in ${text.data.trim()}`);
// Letters of figures that are too small to read, with their size in pixels.
const small = () =>
  [...document.querySelectorAll("figure svg text")]
    .filter((text) => text.getClientRects().length)
    .map((text) => [text.textContent.trim(), text.getScreenCTM(), parseFloat(getComputedStyle(text).fontSize)])
    .map(([text, at, size]) => [text, size * Math.hypot(at.a, at.b)])
    .filter(([, size]) => size < 10)
    .map(([text, size]) => `${text}: ${size.toFixed(1)}`);
const open = () => document.querySelectorAll("details").forEach((details) => (details.open = true));

const look = async (browser, path) => {
  const found = { html: [], axe: [] };
  const requests = [];
  const report = await validator.validateString(await readFile(path, "utf-8"));
  found.html = report.results.flatMap((one) => one.messages.map((m) => `${m.line}:${m.column} ${m.ruleId}: ${m.message}`));
  const page = await browser.newPage();
  page.on("request", (request) => requests.push(request.url()));
  await page.setViewportSize({ width: PAPER, height: 1000 });
  await page.emulateMedia({ media: "print" });
  await page.goto(pathToFileURL(path).href);
  Object.assign(found, { hidden_on_paper: await page.evaluate(hidden), cut_on_paper: await page.evaluate(cut) });
  found.split_on_paper = await page.evaluate(split);
  // Each width once and each scheme once: what axe-core looks at takes most of the time.
  for (const [width, colorScheme] of [[1280, "light"], [390, "dark"]]) {
    await page.emulateMedia({ media: "screen", colorScheme });
    await page.setViewportSize({ width, height: 800 });
    if (width === 1280) found.height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.evaluate(open);
    found[`wide_${width}`] = await page.evaluate(wide);
    if (width === 390) {
      for (const [what, how] of Object.entries({ cut, thin, small })) found[`${what}_on_a_phone`] = await page.evaluate(how);
    }
    found.axe.push(...(await violations(page)).map((text) => `${width} ${colorScheme}: ${text}`));
  }
  await page.close();
  found.requests = [...new Set(requests)].map((url) => url.split("/").at(-1)).sort();
  return found;
};

const browser = await chromium.launch({ executablePath: process.argv[2], args: ["--no-sandbox"] });
for await (const path of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await look(browser, path)));
}
await browser.close();
