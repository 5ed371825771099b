// Requests to the service, and conversion of its errors to sentences. Keeps the API key in memory.

let apiKey = "";

/** An error of the service or of the connection. The message is a sentence for users. */
export class ServiceError extends Error {
  constructor(detail, code) {
    super(sentence(detail));
    this.code = code;
  }
}

export function useKey(key) {
  apiKey = key;
}

/** Return the model and the limits of the service. */
export function info() {
  return send("info", {});
}

/** Return the faces of an image file. `parameters` are those of the query. */
export function predict(file, parameters, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  return send(address("predict", parameters), { method: "POST", body: file, headers, signal });
}

/** Return a WebSocket to /ws. Scripts cannot set its headers, so the first message is the key. */
export function openStream(parameters) {
  const url = new URL(address("ws", parameters), location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.addEventListener("open", () => {
    if (apiKey) socket.send(JSON.stringify({ api_key: apiKey }));
  });
  return socket;
}

export function sentence(detail) {
  const text = detail.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

function address(path, parameters) {
  const query = new URLSearchParams(parameters).toString();
  return query ? `${path}?${query}` : path;
}

async function send(path, options) {
  const headers = { ...options.headers, ...(apiKey ? { "X-API-Key": apiKey } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached. Check the connection and try again", "unreachable");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (answer.code === "too_many_pixels") answer.detail = inMegapixels(answer.detail);
  throw new ServiceError(answer.detail ?? `The service answered with status ${response.status}`, answer.code);
}

/** Return a sentence with numbers of pixels in megapixels: "48 megapixels" for "48771072 pixels". */
function inMegapixels(detail) {
  const counts = detail.match(/\d{6,}/g) ?? [];
  const whole = new Set(counts.map((count) => Math.floor(count / 1_000_000)));
  const digits = whole.size < counts.length ? 1 : 0; // "at most 40.0. Received: 40.3"
  return detail.replace(/(\d{6,})( pixels)?/g, (_, count) => {
    const megapixels = count / 1_000_000;
    return `${digits ? megapixels.toFixed(1) : Math.floor(megapixels)} megapixels`;
  });
}
