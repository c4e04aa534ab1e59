// Which sections answer a question, the best one first.

import MiniSearch from "minisearch";
import sections from "sections";
import { also, synonyms } from "./aliases.js";
import { term, tokens, words } from "./words.js";

const FUZZY = 0.2; // letters that may differ, of those that a word has
const WORTH = 0.1; // of the score of the best section
const QUESTION = /^(?:why|what|how|is|are|does|do|did|should|which|when|where|can|must|who)\b|\?/i;
const ANSWERS = /(?:faq|misconceptions)\.html/;
const NAME = /\w_\w|[a-z][A-Z]/;
const API = /api\.html/;
// How much a section counts, by its address.
const WEIGHTS = [
  [/claims\.html/, 0.1],
  [/bibliography\.html/, 0.3],
  [API, 0.5],
  [/#(?:exercises|further-reading)/, 0.5],
  [/#summary/, 0.7],
  [/(?:glossary|faq|misconceptions)\.html/, 1.2],
  [/./, 1],
];

const index = new MiniSearch({
  fields: ["title", "also", "page", "text", "code"],
  tokenize: words,
  processTerm: term,
  searchOptions: { boost: { title: 4, also: 7, page: 2, code: 0.5 } },
});
index.addAll(sections.map((section, id) => ({ ...section, also: also[section.address], id })));

/** The words of all sections, each by its term, and how many sections have it. */
const known = new Map();
const counts = new Map();
for (const { title, address, text = "", code = "" } of sections) {
  const here = words(`${title} ${also[address] ?? ""} ${text} ${code}`);
  for (const [each, word] of new Map(here.map((word) => [term(word), word]))) {
    if (each && !known.has(each)) known.set(each, word);
    counts.set(each, (counts.get(each) ?? 0) + 1);
  }
}

const begins = (start) => [...known.keys()].some((each) => each.startsWith(start));
const isKnown = (each) => synonyms.has(each) || begins(each);
const alike = (each) => [each, ...(isKnown(each) ? (synonyms.get(each) ?? []) : swapped(each))];
const expand = (word) => term(word) && alike(term(word));

/** The known terms that are this one with two neighbouring letters the other way round. */
function swapped(each) {
  const swap = (_, i) => each.slice(0, i) + each[i + 1] + each[i] + each.slice(i + 2);
  return [...each.slice(1)].map(swap).filter((other) => known.has(other));
}

/**
 * The sections that are found, with the terms that were found in each; the words that no section
 * has; and those that are similar to them.
 */
export function search(query) {
  const terms = [...new Set(words(query).map(term).filter(Boolean))];
  const unknown = tokens(query).filter((word) => term(word) && !isKnown(term(word)));
  const results = index.search(query, {
    processTerm: expand,
    boostTerm: (each) => (terms.includes(each) ? 1 : 0.8),
    prefix: (each) => each.length > 4 || !known.has(each),
    fuzzy: (each) => each.length > 3 && !isKnown(each) && FUZZY,
    boostDocument: (id) => weight(sections[id].address, query),
  });
  const found = results
    .map(({ id, score, queryTerms, terms: matched }) => ({
      ...sections[id],
      terms: new Set(matched),
      score: score * share(terms, queryTerms) ** 2,
    }))
    .sort((one, other) => other.score - one.score)
    .filter(({ score }, _, [best]) => score > best.score * WORTH);
  return { found, unknown, similar: unknown.flatMap(similar) };
}

function weight(address, query) {
  if (QUESTION.test(query) && ANSWERS.test(address)) return 1.4;
  if (NAME.test(query) && API.test(address)) return 1;
  return WEIGHTS.find(([pattern]) => pattern.test(address))[1];
}

/** The part of the terms, or of their synonyms, that is among those found; rare ones count more. */
function share(terms, found) {
  const isFound = (each) => alike(each).some((same) => found.includes(same));
  const rarity = (each) => Math.log(1 + sections.length / (counts.get(each) ?? 1));
  const total = (some) => some.reduce((sum, each) => sum + rarity(each), 0);
  return total(terms.filter(isFound)) / total(terms);
}

/** The word most like this one, as a list of one or none. */
function similar(word) {
  const [best] = index.search(word, { fuzzy: FUZZY, tokenize: tokens, processTerm: expand });
  return best ? [known.get(best.terms[0])] : [];
}
