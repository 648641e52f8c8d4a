/**
 * The page's only way to make elements. Every text becomes a text node and is made visible first; nothing is ever
 * parsed as HTML, so a text of a model or a user cannot become markup, a script or an address.
 */

const SVG = "http://www.w3.org/2000/svg";
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
/** Line ends, tabs, and the joiners that are parts of words and emoji. */
const KEPT = new Set(["\n", "\t", "\u200c", "\u200d", "\u00ad"]);

/** The text with control and format characters spelled out, as `karma explain` does: \x1b for an escape. */
export function visible(text) {
  return String(text).replaceAll("\r\n", "\n").replace(UNSAFE, spelled);
}

function spelled(character) {
  if (KEPT.has(character)) return character;
  const code = character.codePointAt(0);
  const spelt = (letter, digits) => `\\${letter}${code.toString(16).padStart(digits, "0")}`;
  return code < 0x100 ? spelt("x", 2) : code < 0x10000 ? spelt("u", 4) : spelt("U", 8);
}

/**
 * An HTML element. Attributes that are null or false are left out; `on` holds listeners, `vars` custom properties of
 * CSS. Children are nodes, texts, numbers, or lists of them; null and false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element; as `h`. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "href") setAddress(element, value);
    else element.setAttribute(name, value === true ? "" : visible(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : visible(child));
  }
}

let hasAddress = () => true;

/** From now on only those addresses are links that `isKnown` accepts: a frozen page has few views. */
export function limitAddresses(isKnown) {
  hasAddress = isKnown;
}

function setAddress(element, value) {
  if (hasAddress(value)) element.setAttribute("href", inside(value));
}

/** An address inside this page; any other (`javascript:`, `//elsewhere`) is refused. */
function inside(address) {
  const found = new URL(address, location.href);
  if (found.origin !== location.origin) throw new TypeError(`not an address inside this page: ${address}`);
  return found.pathname + found.search + found.hash;
}

/**
 * Make the children of an element equal to `children`, changing only the differences: open, selected and focused
 * elements stay so. Listeners of kept elements stay those that they had.
 */
export function render(parent, ...children) {
  const wanted = document.createDocumentFragment();
  add(wanted, children);
  alignChildren(parent, wanted);
}

function alignChildren(parent, wanted) {
  const after = [...wanted.childNodes];
  const before = [...parent.childNodes];
  after.forEach((node, index) => {
    const old = before[index];
    if (old === undefined) parent.append(node);
    else if (old.nodeName !== node.nodeName) old.replaceWith(node);
    else align(old, node);
  });
  before.slice(after.length).forEach((node) => node.remove());
}

function align(old, node) {
  if (old.isEqualNode(node)) return;
  if (node.nodeType === Node.TEXT_NODE) {
    old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name) && name !== "open" && name !== "style") old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (name !== "style" && name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style.cssText !== node.style.cssText) old.style.cssText = node.style.cssText; // the policy forbids style attributes
  alignChildren(old, node);
}
