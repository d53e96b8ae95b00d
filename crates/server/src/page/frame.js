'use strict';

const byId = (id) => document.getElementById(id);

// Whatever comes from outside is text here, never HTML: everything is set by textContent. What is set anew is read
// out anew, so what has not changed is left alone.
function say(id, text) {
  if (byId(id).textContent !== text) {
    byId(id).textContent = text;
  }
}

async function failure(response) {
  const problem = await response.json().catch(() => ({}));
  return `${response.status}: ${problem.detail || response.statusText}`;
}

// The response if it is a success, else null, after the reason was said in the element `id`.
async function send(id, path, options) {
  try {
    const response = await fetch(path, options);
    if (response.ok) {
      return response;
    }
    say(id, await failure(response));
  } catch (error) {
    if (error.name !== 'AbortError') {
      say(id, `${document.title} cannot be reached.`);
    }
  }
  return null;
}

function rowOf(...cells) {
  const row = document.createElement('tr');
  for (const text of cells) {
    row.insertCell().textContent = text;
  }
  return row;
}

// Calls a function now and then while the page is seen, never twice at a time.
function repeat(work, milliseconds) {
  let working = false;
  const round = async () => {
    if (working || document.hidden) {
      return;
    }
    working = true;
    try {
      await work();
    } catch {
      // The next round may succeed; what is shown stays.
    } finally {
      working = false;
    }
  };
  setInterval(round, milliseconds);
  document.addEventListener('visibilitychange', round);
  round();
  return round;
}
