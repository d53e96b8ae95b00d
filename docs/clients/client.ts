// TypeScript, for Node 20 or later and for browsers: fetch is all that it takes.

const { MULTIVAC_URL, RANDOMIZE_URL, SRE_KATA_URL } = process.env;
const multivac = MULTIVAC_URL ?? 'http://127.0.0.1:5003';
const randomize = RANDOMIZE_URL ?? 'http://127.0.0.1:5000';
const sreKata = SRE_KATA_URL ?? 'http://127.0.0.1:8003';

/** What every error is (RFC 9457). */
interface Problem {
  title: string;
  status: number;
  detail?: string;
  request_id: string;
}

class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.status} ${problem.detail ?? problem.title}`);
    this.problem = problem;
  }
}

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** An answer that is a success; what is safe to repeat is repeated, as late as Retry-After says. */
async function send(url: string, options: RequestInit = {}, tries = 5): Promise<Response> {
  for (let attempt = 1; ; attempt += 1) {
    let pause = 100 * 2 ** attempt * (0.5 + Math.random());
    try {
      const answer = await fetch(url, { ...options, signal: AbortSignal.timeout(10_000) });
      if (answer.ok) {
        return answer;
      }
      if (attempt === tries || ![429, 502, 503, 504].includes(answer.status)) {
        throw new ProblemError((await answer.json()) as Problem);
      }
      pause = Number(answer.headers.get('Retry-After') ?? 0) * 1000 || pause;
      await answer.body?.cancel();
    } catch (error) {
      if (error instanceof ProblemError || attempt === tries) {
        throw error;
      }
    }
    await sleep(pause);
  }
}

/** The job of a datum; with the same key the service stores once what is sent twice. */
async function feed(data: string, key: string): Promise<string | null> {
  const answer = await send(`${multivac}/multivac/data`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify({ data }),
  });
  return answer.headers.get('Location');
}

/** The pages of a list: the next one is in the header Link, relative to this one. */
async function* pages<T>(first: string): AsyncGenerator<T[]> {
  let url: string | undefined = first;
  while (url) {
    const answer: Response = await send(url);
    const next = /<([^>]*)>; rel="next"/.exec(answer.headers.get('Link') ?? '')?.[1];
    url = next && new URL(next, answer.url).href;
    yield (await answer.json()) as T[];
  }
}

const key = crypto.randomUUID();
const first = await feed('from TypeScript', key);
const second = await feed('from TypeScript', key);
if (first !== second) {
  throw new Error('the same key made two jobs');
}
console.log(`queued once: ${first}`);

for (const word of ['one', 'two', 'three']) {
  await send(`${randomize}/api/randomizes`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ word }),
  }, 1);
}
let read = 0;
for await (const _ of pages<{ id: number; jumbled: string }>(`${randomize}/api/randomizes?limit=2`)) {
  read += 1;
  if (read === 2) {
    break;
  }
}
console.log(`pages: ${read}`);

try {
  await send(`${sreKata}/query?param=a`);
} catch (error) {
  if (!(error instanceof ProblemError)) {
    throw error;
  }
  console.log(`problem: ${error.message}`);
}

export {};
