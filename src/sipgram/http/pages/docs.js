// Shows /openapi.json. Text is only ever set as text, never as markup.
"use strict";

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

function resolved(schema, all) {
  if (schema && schema.$ref) return all[schema.$ref.split("/").pop()] || {};
  return schema || {};
}

function kind(schema, all) {
  const it = resolved(schema, all);
  if (schema && schema.$ref && !it.type && !it.anyOf) return schema.$ref.split("/").pop();
  if (it.enum) return it.enum.map(value => JSON.stringify(value)).join(" or ");
  if (it.const !== undefined) return JSON.stringify(it.const);
  if (it.anyOf) return it.anyOf.map(each => kind(each, all)).join(" or ");
  if (it.type === "array") return "list of " + kind(it.items || {}, all);
  if (schema && schema.$ref) return schema.$ref.split("/").pop();
  return it.format ? it.type + " (" + it.format + ")" : it.type || "anything";
}

function limits(schema) {
  const said = [];
  for (const it of [schema, ...(schema.anyOf || [])]) {
    if (it.minimum !== undefined) said.push("from " + it.minimum);
    if (it.maximum !== undefined) said.push("to " + it.maximum);
    if (it.maxLength !== undefined) said.push("at most " + it.maxLength + " characters");
    if (it.maxItems !== undefined) said.push("at most " + it.maxItems);
  }
  if (schema.default !== undefined && schema.default !== null && schema.default !== "") {
    said.push("else " + JSON.stringify(schema.default));
  }
  return said.join(", ");
}

function fields(schema, all) {
  const it = resolved(schema, all);
  const list = make("dl");
  for (const [name, field] of Object.entries(it.properties || {})) {
    const term = make("dt");
    term.append(make("code", name));
    if ((it.required || []).includes(name)) term.append(" *");
    const said = [kind(field, all), field.description, limits(field)].filter(Boolean);
    list.append(term, make("dd", said.join("; ")));
  }
  return list;
}

function example(path, method, operation, all) {
  const required = (operation.parameters || []).filter(p => p.required && p.in === "query");
  const query = required.map(p => p.name + "=…").join("&");
  const lines = ["curl " + (method === "get" ? "" : "-X " + method.toUpperCase() + " ") +
    "'" + location.origin + path + (query ? "?" + query : "") + "'"];
  lines.push("  -H 'Authorization: Bearer sgk_…'");
  const content = operation.requestBody && operation.requestBody.content;
  if (content && content["application/json"]) {
    const schema = resolved(content["application/json"].schema, all);
    const body = {};
    for (const name of schema.required || []) body[name] = "…";
    if (schema.properties && schema.properties.text) body.text = "Hello";
    lines.push("  --json '" + JSON.stringify(body) + "'");
  } else if (content) {
    lines.push("  -H 'Content-Type: " + Object.keys(content)[0] + "' --data-binary @FILE");
  }
  return make("pre", lines.join(" \\\n"));
}

function shown(path, method, operation, all) {
  const section = make("section");
  section.id = method + path.replace(/[^a-z0-9]+/gi, "-");
  const head = make("h3");
  head.append(make("code", method.toUpperCase(), method), " ", make("code", path));
  section.append(head, make("p", operation.summary || ""));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    section.append(make("h4", "Parameters"));
    const list = make("dl");
    for (const it of parameters) {
      const term = make("dt");
      term.append(make("code", it.name));
      if (it.required) term.append(" *");
      const said = [it.in, kind(it.schema, all), it.description, limits(it.schema || {})];
      list.append(term, make("dd", said.filter(Boolean).join("; ")));
    }
    section.append(list);
  }
  const content = operation.requestBody && operation.requestBody.content;
  for (const [type, body] of Object.entries(content || {})) {
    section.append(make("h4", "Body, " + type), fields(body.schema, all));
  }
  section.append(make("h4", "Answers"));
  const answers = make("dl");
  for (const [status, answer] of Object.entries(operation.responses)) {
    const term = make("dt");
    term.append(make("code", status === "default" ? "else" : status));
    const schemas = Object.values(answer.content || {}).map(each => kind(each.schema, all));
    answers.append(term, make("dd", [answer.description, ...schemas].filter(Boolean).join("; ")));
  }
  section.append(answers);
  const good = Object.entries(operation.responses).find(([status]) => status.startsWith("2"));
  const json = good && good[1].content && good[1].content["application/json"];
  if (json && resolved(json.schema, all).properties) {
    section.append(make("h4", good[0] + " holds"), fields(json.schema, all));
  }
  section.append(make("h4", "Example"), example(path, method, operation, all));
  return section;
}

function search(entries) {
  const wanted = document.getElementById("search").value.toLowerCase();
  for (const { item, section, text } of entries) {
    item.hidden = section.hidden = !text.includes(wanted);
  }
}

async function start() {
  const main = document.getElementById("operations");
  const answer = await fetch("/openapi.json");
  const api = await answer.json();
  const all = (api.components && api.components.schemas) || {};
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").textContent = (api.info.description || "").replaceAll("`", "");
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = (operation.tags || ["node"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, operation]);
    }
  }
  const index = document.getElementById("index");
  const entries = [];
  for (const [tag, operations] of groups) {
    index.append(make("li", tag, "group"));
    main.append(make("h2", tag));
    for (const [path, method, operation] of operations) {
      const section = shown(path, method, operation, all);
      const link = make("a");
      link.href = "#" + section.id;
      link.append(make("code", method.toUpperCase(), method), " " + (operation.summary || path));
      const item = make("li");
      item.append(link);
      index.append(item);
      main.append(section);
      const text = (method + " " + path + " " + (operation.summary || "")).toLowerCase();
      entries.push({ item, section, text });
    }
  }
  document.getElementById("search").addEventListener("input", () => search(entries));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

start().catch(error => {
  document.getElementById("operations").textContent = "The API cannot be shown: " + error;
});
