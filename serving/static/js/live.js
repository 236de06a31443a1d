// One event stream for all tabs of a browser. A browser opens only six connections to one server, so tabs elect one that
// listens (whoever holds the lock) and passes every event on to the others; when it closes, the next tab takes over.

const QUIET_MS = 15000; // the server speaks at least every 5 s
const RETRY_MS = [1000, 2000, 4000];

export function listen(onEvent, onState) {
  const shared = "locks" in navigator && "BroadcastChannel" in window;
  const channel = shared ? new BroadcastChannel("millrace-events") : null;
  const last = new Map();
  let heardAt = 0;

  function take(name, data, pass) {
    heardAt = Date.now();
    onState("live");
    if (name !== "beat") {
      last.set(name, data);
      onEvent(name, data);
    }
    if (pass && channel) channel.postMessage({ name, data });
  }

  if (channel) {
    let leading = false;
    channel.onmessage = ({ data: said }) => {
      if (said.name === "hello") {
        // A new tab: tell it what was said last.
        if (leading) for (const [name, data] of last) channel.postMessage({ name, data });
      } else if (said.name === "state") {
        onState(said.data);
      } else {
        take(said.name, said.data, false);
      }
    };
    navigator.locks.request("millrace-events", () => {
      leading = true;
      connect((name, data) => take(name, data, true), (state) => {
        onState(state);
        channel.postMessage({ name: "state", data: state });
      }, () => heardAt);
      return new Promise(() => {}); // held until this tab closes
    });
    channel.postMessage({ name: "hello" });
    setInterval(() => {
      if (!leading && heardAt && Date.now() - heardAt > QUIET_MS) onState("reconnecting");
    }, 3000);
  } else {
    connect((name, data) => take(name, data, false), onState, () => heardAt);
  }
}

function connect(onEvent, onState, heardAt) {
  let source = null;
  let failures = 0;
  let timer = null;

  function open() {
    clearTimeout(timer);
    timer = null;
    source?.close();
    source = new EventSource("/api/events");
    for (const name of ["tables", "stream", "beat"]) {
      source.addEventListener(name, (event) => {
        failures = 0;
        onEvent(name, JSON.parse(event.data));
      });
    }
    source.onerror = () => {
      onState("reconnecting");
      // The browser retries by itself unless the server refused; then, and where it gave up, we do.
      if (source.readyState === EventSource.CLOSED) retry();
    };
  }

  function retry() {
    if (timer !== null) return;
    timer = setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
    failures += 1;
  }

  // A connection can be dead without an error: a machine that slept, a proxy in between.
  setInterval(() => {
    if (timer === null && heardAt() && Date.now() - heardAt() > QUIET_MS) {
      onState("reconnecting");
      retry();
    }
  }, 3000);
  open();
}
