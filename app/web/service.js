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

/** Return the faces of an image file. */
export function predict(file, signal) {
  return send("predict", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal });
}

/** Return a WebSocket to /ws. Scripts cannot set its headers, so the first message is the key. */
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
  throw new ServiceError(answer.detail ?? `The service answered with status ${response.status}`, answer.code);
}
