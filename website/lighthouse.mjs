// Prints, as JSON, what Lighthouse measures on a phone with slow 4G, for each address given.
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";

const [chromePath, ...addresses] = process.argv.slice(2);
const chrome = await launch({
  chromePath,
  chromeFlags: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const report = {};
for (const address of addresses) {
  const { lhr } = await lighthouse(address, {
    port: chrome.port,
    onlyCategories: ["performance", "accessibility", "best-practices", "seo"],
    // Whether a page waits in the cache for "back" is not known without a screen.
    skipAudits: ["bf-cache"],
  });
  const value = (audit) => lhr.audits[audit].numericValue;
  report[address] = {
    scores: Object.fromEntries(
      Object.values(lhr.categories).map(({ id, score }) => [id, Math.round(100 * score)])),
    firstPaint: value("first-contentful-paint") / 1000,
    largestPaint: value("largest-contentful-paint") / 1000,
    blocked: value("total-blocking-time"),
    shift: value("cumulative-layout-shift"),
    bytes: value("total-byte-weight"),
    failed: Object.values(lhr.categories)
      .filter(({ id }) => id !== "performance")
      .flatMap(({ auditRefs }) => auditRefs)
      .map(({ id }) => lhr.audits[id])
      .filter(({ score, scoreDisplayMode }) => score !== null && score < 1 &&
        scoreDisplayMode !== "informative")
      .map(({ title }) => title),
  };
}
chrome.kill();
process.stdout.write(JSON.stringify(report, null, 1));
