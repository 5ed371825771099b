// What the page asks of the service, and how the service's errors become sentences. The API key lives here, in memory.

let apiKey = "";

/** A refusal by the service, or no answer from it; the message is a sentence for people. */
export class ServiceError extends Error {
  constructor(detail, code) {
    super(sentence(detail));
    this.code = code;
  }
}

export function useKey(key) {
  apiKey = key;
}

/** The model and the limits in force. */
export function info() {
  return ask("info", {});
}

/** The faces of an image file. */
export function predict(file, signal) {
  return ask("predict", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal });
}

/** An open WebSocket to /ws; scripts cannot set headers there, so the key is the first message. */
export function openStream(smoothing) {
  const address = new URL(`ws?smoothing=${smoothing}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.addEventListener("open", () => {
    if (apiKey) socket.send(JSON.stringify({ api_key: apiKey }));
  });
  return socket;
}

export function sentence(detail) {
  const text = detail.trim();
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

async function ask(path, options) {
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
  throw new ServiceError(answer.detail ?? `The service answered with status ${response.status}`, answer.code);
}
