const jobs = [];
const SHOWN_JOBS = 10;
const INTERVAL = 2000;

byId('ask').addEventListener('click', async () => {
  const response = await send('answer', 'multivac');
  if (response) {
    say('answer', await response.text());
  }
});

byId('feed').addEventListener('submit', async (event) => {
  event.preventDefault();
  const data = byId('data').value;
  const response = await send('message', 'multivac/data', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ data }),
  });
  if (response) {
    say('message', (await response.json()).response);
    jobs.unshift({ path: new URL(response.headers.get('Location'), response.url).href, data, status: 'queued', attempts: 0 });
    jobs.length = Math.min(jobs.length, SHOWN_JOBS);
    byId('feed').reset();
    byId('data').focus();
    refresh();
  }
});

byId('delete').addEventListener('click', async () => {
  const response = await send('message', 'multivac/zzz', { method: 'DELETE' });
  if (response) {
    say('message', await response.text());
    refresh();
  }
});

async function showQueue() {
  const response = await send('queue-message', 'multivac/queue');
  const queue = response ? await response.json() : {};
  if (response) {
    say('queue-message', '');
  }
  for (const name of ['length', 'dead_letters', 'stored']) {
    say(name, response ? queue[name].toLocaleString() : '–');
  }
  say('oldest_age_seconds', response ? `${queue.oldest_age_seconds.toFixed(1)} s` : '–');
}

async function showJobs() {
  for (const job of jobs.filter((job) => job.status !== 'deleted')) {
    const response = await fetch(job.path);
    if (response.ok) {
      Object.assign(job, await response.json());
    } else if (response.status === 404) {
      // A tombstone has expired.
      job.status = 'deleted';
    }
  }
  const rows = jobs.map((job) => rowOf(job.path.split('/').pop(), job.data, job.status, job.attempts));
  if (rows.length) {
    byId('jobs').replaceChildren(...rows);
  }
}

const refresh = repeat(() => Promise.all([showQueue(), showJobs()]), INTERVAL);
