// A page's phone on SIP.js: start, send, and what came in, for the tests to look at.
import { Messager, Registerer, RegistererState, UserAgent } from "sip.js";

const received = [];
const states = [];
let agent;

async function start({ url, aor, password }) {
  const uri = UserAgent.makeURI(aor);
  agent = new UserAgent({
    uri,
    transportOptions: { server: url, keepAliveInterval: 1 },
    authorizationUsername: uri.user,
    authorizationPassword: password,
    delegate: {
      async onMessage(message) {
        await message.accept();
        const from = message.request.from.uri.toString();
        const type = message.request.getHeader("content-type");
        received.push({ from, type, text: message.request.body });
      },
    },
  });
  await agent.start();
  const registerer = new Registerer(agent, { expires: 300 });
  registerer.stateChange.addListener((state) => {
    if (state === RegistererState.Registered) states.push("registered");
  });
  await registerer.register({
    requestDelegate: { onReject: ({ message }) => states.push(`refused ${message.statusCode}`) },
  });
}

function send(to, text) {
  return new Promise((resolve) => {
    const tell = ({ message }) => resolve(message.statusCode);
    const requestDelegate = { onAccept: tell, onReject: tell };
    new Messager(agent, UserAgent.makeURI(to), text).message({ requestDelegate });
  });
}

globalThis.phone = { start, send, received, states };
