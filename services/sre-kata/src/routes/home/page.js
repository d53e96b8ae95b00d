const PAUSE = 150;
const TINTS = 6;
const SHOWN_ROWS = 200;
const NAMES = new Map([[' ', 'space'], ['\n', 'line break'], ['\t', 'tab'], ['\u00a0', 'no-break space']]);

// The text as it is sent: half a surrogate pair becomes U+FFFD.
function typed() {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(new TextEncoder().encode(byId('param').value));
}

// What occurs at least twice, the most frequent first: character to times.
function repeated(characters) {
  const times = new Map();
  for (const character of characters) {
    times.set(character, (times.get(character) || 0) + 1);
  }
  return new Map([...times].filter(([, count]) => count > 1).sort((one, other) => other[1] - one[1]));
}

function nameOf(character) {
  // A combining mark needs something to stand on.
  return NAMES.get(character) || (/\p{Mark}/u.test(character) ? `\u25cc${character}` : character);
}

function show() {
  const characters = Array.from(typed());
  const times = repeated(characters);
  const ranks = new Map([...times.keys()].map((character, rank) => [character, rank]));
  const parts = [];
  for (let start = 0, end; start < characters.length; start = end) {
    // One element for a run of one character, or of those that do not repeat.
    const rank = ranks.get(characters[start]);
    end = start + 1;
    while (end < characters.length && ranks.get(characters[end]) === rank) {
      end += 1;
    }
    const part = document.createElement(rank === undefined ? 'span' : 'mark');
    part.textContent = characters.slice(start, end).join('');
    if (rank !== undefined) {
      part.className = `c${rank % TINTS}`;
    }
    parts.push(part);
  }
  byId('where').replaceChildren(...parts);
  const rows = [...times].slice(0, SHOWN_ROWS).map(([character, count]) => {
    const point = character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    return rowOf(nameOf(character), `U+${point}`, count.toLocaleString());
  });
  byId('often').replaceChildren(...(rows.length ? rows : [rowOf('none', '', '')]));
}

let asking = new AbortController();

// How many there are is the service's own answer.
async function ask() {
  asking.abort();
  asking = new AbortController();
  const text = typed();
  if (Array.from(text).length < 2) {
    say('answer', '');
    say('message', 'At least two characters are needed.');
    return;
  }
  const { signal } = asking;
  const response = await send('message', 'query', {
    method: 'POST',
    headers: { 'Content-Type': 'text/plain;charset=utf-8', Accept: 'application/json' },
    body: text,
    signal,
  });
  const count = response && (await response.json().catch(() => null));
  if (count && !signal.aborted) {
    say('message', '');
    say('answer', count.count === 1 ? '1 character occurs more than once.' : `${count.count} characters occur more than once.`);
  } else if (!signal.aborted) {
    say('answer', '');
  }
}

let pause;

byId('param').addEventListener('input', () => {
  show();
  clearTimeout(pause);
  pause = setTimeout(ask, PAUSE);
});
byId('form').addEventListener('submit', (event) => event.preventDefault());
show();
ask();
