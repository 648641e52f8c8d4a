/** A word diff of two texts: their longest common subsequence, bounded in its size. */

/** Words compared of each text, without the common beginning and end: at most 2.25 million cells. */
export const MOST_WORDS = 1500;

/**
 * @returns {{a: Run[], b: Run[], bounded: boolean}} each text in runs of words that are its own or common to both;
 *   `bounded` says that words beyond the bound were not compared. Run: {text: string, own: boolean}
 */
export function wordDiff(textA, textB) {
  const [a, b] = [words(textA), words(textB)];
  const start = sharedLength(a, b, 0);
  const end = sharedLength(a.slice(start).reverse(), b.slice(start).reverse(), 0);
  const [middleA, middleB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const bounded = middleA.length > MOST_WORDS || middleB.length > MOST_WORDS;
  const [ownA, ownB] = different(middleA.slice(0, MOST_WORDS), middleB.slice(0, MOST_WORDS));
  return { a: runs(a, start, ownA), b: runs(b, start, ownB), bounded };
}

/** Words with the space after them, so that joined they are the text again. */
function words(text) {
  return text.match(/\s+|\S+\s*/g) ?? [];
}

const same = (one, other) => one.trim() === other.trim();

function sharedLength(a, b, from) {
  let length = from;
  while (length < a.length && length < b.length && same(a[length], b[length])) length += 1;
  return length;
}

/** For each word of a and of b whether it is outside the longest common subsequence. */
function different(a, b) {
  const width = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * width); // common subsequence of the words from i and from j on
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const next = (i + 1) * width + j;
      longest[i * width + j] = same(a[i], b[j])
        ? longest[next + 1] + 1
        : Math.max(longest[next], longest[next - width + 1]);
    }
  }
  const [ownA, ownB] = [a.map(() => true), b.map(() => true)];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (same(a[i], b[j])) ownA[i++] = ownB[j++] = false;
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [ownA, ownB];
}

function runs(all, start, own) {
  const found = [];
  all.forEach((text, index) => {
    const isOwn = own[index - start] ?? false;
    if (found.at(-1)?.own === isOwn) found.at(-1).text += text;
    else found.push({ text, own: isOwn });
  });
  return found;
}
