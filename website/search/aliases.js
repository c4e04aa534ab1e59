// What readers ask for in words that the book does not use there.

/** Terms, as words.js makes them, that mean the same or nearly. */
export const synonyms = new Map([
  ["big", ["larg"]],
  ["bias", ["unbias"]],
  ["unbias", ["bias"]],
  ["clip", ["clamp"]],
  ["clamp", ["clip"]],
  ["cover", ["forward"]],
  ["fraction", ["ratio"]],
  ["ratio", ["fraction"]],
  ["gaussian", ["normal"]],
  ["infinit", ["inf"]],
  ["inf", ["infinit"]],
  ["zero", ["0"]],
  ["ref", ["referenc"]],
  ["optimal", ["best"]],
  ["pi_ref", ["referenc"]],
  ["vllm", ["inferenc"]],
  ["sglang", ["inferenc"]],
  ["mismatch", ["disagre"]],
]);

/** Sections, by their address, with further words that lead to them. */
export const also = {
  "book/cheatsheet.html#which-one": "which estimator to use",
  "book/choosing.html#the-decision-table": "which estimator to use",
  "book/does_it_help.html#over-optimisation": "stop overoptimisation",
  "book/faq.html#can-i-leave-the-kl-term-out": "reference model memory",
  "book/faq.html#which-beta-should-i-use": "large",
  "book/glossary.html#standard-error": "confidence interval",
  "book/intro.html#why-it-looks-like-that": "minus 1",
  "book/kl_divergence.html#what-a-tenth-of-a-nat-means": "how many samples",
  "book/three_estimators.html#error-bars-for-sequences": "confidence interval",
  "book/three_estimators.html#k3-add-something-whose-mean-is-zero": "minus 1",
};
