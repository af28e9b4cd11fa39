// A page's phone on JsSIP: start, send, and what came in, for the tests to look at.
import JsSIP from "jssip";

const received = [];
const states = [];
let agent;

function start({ url, aor, password }) {
  agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(url)],
    uri: aor,
    password,
    register: true,
    register_expires: 300,
    session_timers: false,
  });
  agent.on("registered", () => states.push("registered"));
  agent.on("registrationFailed", ({ response }) => states.push(`refused ${response?.status_code}`));
  agent.on("newMessage", ({ originator, request }) => {
    if (originator !== "remote") return;
    const from = request.from.uri.toString();
    received.push({ from, type: request.getHeader("content-type"), text: request.body });
  });
  agent.start();
}

function send(to, text) {
  return new Promise((resolve) => {
    const tell = ({ response, cause }) => resolve(response ? response.status_code : cause);
    agent.sendMessage(to, text, { eventHandlers: { succeeded: tell, failed: tell } });
  });
}

globalThis.phone = { start, send, received, states };
