// How text becomes the terms that are compared.

const GREEK = {
  α: "alpha",
  β: "beta",
  γ: "gamma",
  ε: "epsilon",
  λ: "lambda",
  π: "pi",
  ρ: "rho",
  σ: "sigma",
  χ: "chi",
};
const STOP_WORDS = new Set(
  `a an and any are as at be been between but by can could did do does for from get go had has have
  how i if in into is it its just many matter me mine much my need not of on or our shall should so
  some than that the their them then there these they this those to versus vs was we were what when
  where which who whose why will with would you your s t don doesn isn`.split(/\s+/),
);

/** The words of a text: names such as low_var_kl and numbers in whole. */
export function tokens(text) {
  const plain = text
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/\b(on|off)[- ](?=policy\b)/g, "$&$1policy ")
    .replace(/−(?=\s*\d)|(?<!\S)-(?=\d)/g, " minus ")
    .replace(/([α-ω])(_?)/g, (_, letter, bar) => ` ${GREEK[letter] ?? letter}${bar || " "}`);
  return plain.match(/\d+\.\d+|[\p{L}\p{N}_]+/gu) ?? [];
}

/** Its words, and the parts of its names. */
export function words(text) {
  return tokens(text).flatMap((word) => (/\w_\w/.test(word) ? [word, ...word.split("_")] : word));
}

/** What forms of a word have in common, or null for a word that says nothing. */
export function term(word) {
  if (!word || STOP_WORDS.has(word)) return null;
  if (word.length < 4 || /[\d_]/.test(word)) return word;
  return word
    .replace(/ies$/, "y")
    .replace(/(?<!s|u|i|bia)s$/, "")
    .replace(/i[sz](?:ation|ing|ed|e)$/, "is")
    .replace(/at(?:ion|ing|or|ed|e)$/, "at")
    .replace(/(?<=\w{3})(?:ing|ed)$/, "")
    .replace(/(\w)\1$/, "$1")
    .replace(/[ey]$/, "");
}
