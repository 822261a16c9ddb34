// Words of a query in a text: which ones match, and marks around them.
import { element } from "./elements.js";

const STOP_WORDS = new Set(
  ("a an and are as at be by can do does for from has have how i in is it its my of on or that the " +
    "their this to was what when where which who why will with you your").split(" "),
);

// Scripts without spaces: single characters and runs of them.
const SCRIPTS = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"];
const CHARACTER = `[${SCRIPTS.map((name) => `\\p{Script=${name}}`).join("")}ー]\\p{M}*`;
const CHARACTERS = new RegExp(CHARACTER, "gu");
const RUN = new RegExp(`^(?:${CHARACTER})+$`, "u");
const WORD = `(?:${CHARACTER})+|(?:(?!${CHARACTER})[\\p{L}\\p{M}\\p{N}_])+`;
const WORDS = new RegExp(WORD, "gu");
const PIECES = new RegExp(`(${WORD})`, "u");

/** Split a text into text nodes and <mark>s around query words. */
export const marked = (text, query) =>
  pieces(text, query).map(({ piece, lit }) => (lit ? element("mark", {}, piece) : piece));

/** The words of a text that match the query, and the query words without a match; lower case. */
export function matches(text, query) {
  const lit = pieces(text, query).filter((one) => one.lit).map(({ piece }) => piece.toLowerCase());
  const known = words(text);
  const missing = wantedWords(query).filter(
    (word) => !lit.some((one) => RUN.test(word) && word.includes(one)) && !known.some((one) => alike(word, one)));
  return { found: [...new Set(lit)], missing };
}

const wantedWords = (query) => [...new Set(words(query))].filter((word) => !STOP_WORDS.has(word));

/** Split a text into pieces {piece, lit}, which alternate. */
function pieces(text, query) {
  const wanted = wantedWords(query);
  const pairs = new Set(wanted.filter((word) => RUN.test(word)).flatMap(pairsOf));
  const merged = [];
  const add = (piece, lit) => {
    const last = merged.at(-1);
    if (last?.lit === lit) last.piece += piece;
    else merged.push({ piece, lit });
  };
  text.split(PIECES).forEach((piece, place) => {
    if (place % 2 === 0) piece && add(piece, false);
    else if (RUN.test(piece)) litCharacters(piece, pairs).forEach(([one, lit]) => add(one, lit));
    else add(piece, wanted.some((word) => alike(word, piece.toLowerCase())));
  });
  return merged;
}

/** The characters of a run; those that are also adjacent in the query are lit. */
function litCharacters(run, pairs) {
  const characters = run.match(CHARACTERS);
  return characters.map((one, n) =>
    [one, pairs.has(one) || pairs.has(one + characters[n + 1]) || pairs.has(characters[n - 1] + one)]);
}

const pairsOf = (run) => {
  const characters = run.match(CHARACTERS);
  return characters.length === 1 ? characters : characters.slice(1).map((one, n) => characters[n] + one);
};

const words = (text) => text.toLowerCase().match(WORDS) ?? [];

/** Whether two words are equal or differ in their ending: copy and copies, sort and sorted. */
function alike(one, other) {
  if (one === other) return true;
  const shared = Math.max(4, Math.min(one.length, other.length) - 1);
  return one.slice(0, shared) === other.slice(0, shared) && Math.abs(one.length - other.length) < 4;
}
