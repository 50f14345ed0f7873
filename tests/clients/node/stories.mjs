// Runs stories one after the other and prints what became of each as JSON: null, or what went wrong.
// Each is told where it happens: the sidecar's origin, the target's name, and the URL of the slow provider behind it.

export const where = JSON.parse(process.argv[2]);

export async function tell(stories) {
  const ends = {};
  for (const [name, story] of Object.entries(stories)) {
    try {
      await story();
      ends[name] = null;
    } catch (error) {
      ends[name] = String(error?.stack ?? error);
    }
  }
  console.log(JSON.stringify(ends));
}

// A fetch that counts, to see that an SDK does not retry what the sidecar has retried.
export function counting() {
  const counted = async (...args) => {
    counted.calls += 1;
    return fetch(...args);
  };
  counted.calls = 0;
  return counted;
}

// What `act` does ends one answer of the slow provider; whole that would take 40 s.
export async function endsAtTheTarget(act) {
  const cancelled = async () => {
    const stats = await fetch(new URL('/simulator/stats', where.slow));
    return (await stats.json()).cancelled;
  };
  const before = await cancelled();
  await act();
  const deadline = performance.now() + 20_000;
  while ((await cancelled()) === before) {
    if (performance.now() > deadline) throw new Error('the target goes on answering nobody');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
