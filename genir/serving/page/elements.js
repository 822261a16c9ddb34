// Elements and texts that all views use. Text from the server becomes text nodes only, never markup.

/** Create an element; all properties are set as attributes. */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/** A count with its noun, in the singular or the plural. */
export const counted = (number, noun) =>
  `${new Intl.NumberFormat("en").format(number)} ${noun}${number === 1 ? "" : "s"}`;

// Shares from here on are 1 up to float32 rounding.
const WHOLE = 1 - 1e-6;

/** Format a share with two significant digits, like `percent` of evaluation/explain.py. */
export function percent(share) {
  if (share < 0.0005) return "< 0.1%";
  if (share >= WHOLE) return "100%";
  if (share >= 0.9995) return "> 99.9%";
  const tenths = share < 0.0995 || share >= 0.945;
  return tenths ? `${(100 * share).toFixed(1)}%` : `${Math.round(100 * share)}%`;
}
