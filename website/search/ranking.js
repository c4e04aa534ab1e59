// Which sections answer a question, the best one first.

import MiniSearch from "minisearch";
import sections from "sections";
import { term, tokens, words } from "./words.js";

// What is asked for in one word and written in another.
const SYNONYMS = new Map([
  ["bias", ["unbias"]],
  ["unbias", ["bias"]],
  ["cover", ["forward"]],
  ["fraction", ["ratio"]],
  ["ratio", ["fraction"]],
  ["infinit", ["inf"]],
  ["inf", ["infinit"]],
  ["zero", ["0"]],
]);
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
  fields: ["title", "page", "text", "code"],
  tokenize: words,
  processTerm: term,
  searchOptions: { boost: { title: 4, page: 2, code: 0.5 } },
});
index.addAll(sections.map((section, id) => ({ ...section, id })));

/** The words of all sections, each by its term. */
const known = new Map();
for (const { title, text = "", code = "" } of sections) {
  for (const word of words(`${title} ${text} ${code}`)) {
    const each = term(word);
    if (each && !known.has(each)) known.set(each, word);
  }
}

const begins = (start) => [...known.keys()].some((each) => each.startsWith(start));
const alike = (each) => [each, ...(SYNONYMS.get(each) ?? [])];

/**
 * The sections that are found, with the terms that were found in each; the words that no section
 * has; and those that are similar to them.
 */
export function search(query) {
  const terms = [...new Set(words(query).map(term).filter(Boolean))];
  const unknown = tokens(query).filter((word) => term(word) && !begins(term(word)));
  const results = index.search(query, {
    processTerm: (word) => term(word) && alike(term(word)),
    boostTerm: (each) => (terms.includes(each) ? 1 : 0.8),
    prefix: (each) => each.length > 4 || !known.has(each),
    fuzzy: (each) => !begins(each) && FUZZY,
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

/** How many of the terms, or of their synonyms, are among those found. */
function share(terms, found) {
  const isFound = (each) => alike(each).some((same) => found.includes(same));
  return terms.filter(isFound).length / terms.length;
}

/** The word most like this one, as a list of one or none. */
function similar(word) {
  const [best] = index.search(word, { fuzzy: FUZZY, tokenize: tokens });
  return best ? [known.get(best.terms[0])] : [];
}
