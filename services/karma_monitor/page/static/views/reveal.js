/** Model names are hidden until they are revealed, so that a reader judges a pair blind, as the judges do. */

const KEY = "karma-revealed";

export const revealed = () => sessionStorage.getItem(KEY) !== null;

export function reveal(on) {
  if (on) sessionStorage.setItem(KEY, "1");
  else sessionStorage.removeItem(KEY);
}
