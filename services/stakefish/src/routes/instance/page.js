const INTERVAL = 2000;
const SHOWN_BARS = 10;

// What is shown of the history, newest first, and where what is older begins.
let queries = [];
let older = null;

const addressesOf = (query) => query.addresses.map(({ ip }) => ip);

// The next page, of the header `Link`.
function nextOf(response) {
  const [, next] = /<([^>]*)>;\s*rel="next"/.exec(response.headers.get('Link') || '') || [];
  return next ? new URL(next, response.url).href : null;
}

function showHistory() {
  const rows = queries.map((query) => {
    const row = rowOf('', query.domain, addressesOf(query).join(', '), query.client_ip);
    const time = document.createElement('time');
    time.dateTime = query.created_at;
    time.textContent = new Date(query.created_at).toLocaleString();
    row.cells[0].append(time);
    for (const cell of row.cells) {
      cell.title = cell.textContent;
    }
    return row;
  });
  if (rows.length) {
    byId('history').replaceChildren(...rows);
  }
  byId('older').hidden = older === null;
}

async function refreshHistory() {
  const response = await send('history-message', 'history');
  if (!response) {
    return;
  }
  say('history-message', '');
  const latest = await response.json();
  const known = new Set(queries.map(({ id }) => id));
  const fresh = latest.filter(({ id }) => !known.has(id));
  if (fresh.length === 0) {
    return;
  }
  if (fresh.length === latest.length) {
    // Nothing of what is shown joins it any more.
    queries = latest;
    older = nextOf(response);
  } else {
    queries = [...fresh, ...queries];
  }
  showHistory();
}

// Lookups by domain as the metrics count them, or none where they are on a port of their own.
async function counts() {
  const response = await fetch('metrics').catch(() => null);
  if (!response || !response.ok) {
    return null;
  }
  const lines = (await response.text()).matchAll(/^queries_total\{domain="([^"]*)"\} (\d+)/gm);
  return new Map(Array.from(lines, ([, domain, count]) => [domain, Number(count)]));
}

async function refreshMost() {
  let most = await counts();
  say('most-caption', most ? 'Saved lookups by domain' : 'Lookups by domain, of the history below');
  if (!most) {
    most = new Map();
    for (const { domain } of queries) {
      most.set(domain, (most.get(domain) || 0) + 1);
    }
  }
  const shown = [...most].filter(([, count]) => count > 0).sort((one, other) => other[1] - one[1]).slice(0, SHOWN_BARS);
  const rows = shown.map(([domain, count]) => {
    const row = rowOf(domain, '');
    const bar = document.createElement('span');
    bar.className = 'bar';
    bar.setAttribute('aria-hidden', 'true');
    bar.style.width = `${(100 * count) / shown[0][1]}%`;
    row.cells[0].title = domain;
    row.cells[1].append(bar, count.toLocaleString());
    return row;
  });
  if (rows.length) {
    byId('most').replaceChildren(...rows);
  }
}

const refresh = repeat(async () => {
  await refreshHistory();
  await refreshMost();
}, INTERVAL);

byId('older').addEventListener('click', async () => {
  const response = await send('history-message', older);
  if (response) {
    queries = [...queries, ...(await response.json())];
    older = nextOf(response);
    showHistory();
  }
});

byId('lookup').addEventListener('submit', async (event) => {
  event.preventDefault();
  byId('found').replaceChildren();
  say('message', 'Looking up …');
  const response = await send('message', 'tools/lookup', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ domain: byId('domain').value.trim() }),
  });
  if (response) {
    const query = await response.json();
    const list = document.createElement('ul');
    for (const address of addressesOf(query)) {
      list.appendChild(document.createElement('li')).textContent = address;
    }
    byId('found').replaceChildren(list);
    say('message', `${query.domain} has ${query.addresses.length === 1 ? 'one address' : `${query.addresses.length} addresses`}:`);
    refresh();
  }
});
