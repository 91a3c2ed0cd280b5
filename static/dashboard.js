// What pages do beyond showing: the reader's time zone, copying, pausing, and the state of the live stream.
"use strict";

document.documentElement.classList.add("js");

// The server writes times in the reader's zone, once it knows which that is.
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.cookie.split("; ").find((one) => one.startsWith("aegis-zone="));
  if (zone && known !== `aegis-zone=${zone}`) {
    document.cookie = `aegis-zone=${zone}; path=/dashboard; max-age=31536000; samesite=strict`;
    const sameClock = zone === document.body.dataset.zone || !document.querySelector("time");
    if (!sameClock && document.cookie.includes("aegis-zone=")) location.reload();
  }
}

for (const input of document.querySelectorAll("[data-back]")) input.value = location.pathname + location.search;

// Snippets can be copied.
for (const pre of document.querySelectorAll(".snippets pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
  });
  pre.after(button);
}

// A slider and its number show the same.
for (const slider of document.querySelectorAll("input[type=range][data-shows]")) {
  const number = document.getElementById(slider.dataset.shows);
  slider.addEventListener("input", () => (number.value = slider.value));
  number.addEventListener("input", () => (slider.value = number.value));
}

// The live stream: what has come in replaces its part of the page, unless the reader has paused.
{
  const state = document.querySelector("[data-live-state]");
  const pause = document.querySelector("[data-pause]");
  const show = (now, words) => {
    if (!state) return;
    state.dataset.state = now;
    state.textContent = words;
  };
  let kept = null;
  const paused = () => pause?.getAttribute("aria-pressed") === "true";
  document.addEventListener("htmx:sse:after:connection", () => show("on", paused() ? "Paused" : "Live"));
  // A tab that nobody sees holds no stream: browsers open only six connections to a host.
  const stream = document.querySelector("[data-stream]");
  const connect = () => {
    if (document.hidden) document.addEventListener("visibilitychange", connect, { once: true });
    else stream.dispatchEvent(new Event("aegis-connect"));
  };
  const lost = (status) => {
    const full = status === 503;
    if (status !== 401) return show("off", full ? "Not live: too many pages are open" : "Connection lost, trying again");
    show("off", "Your session has ended. ");
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = "Log in again";
    state?.append(again);
    stream?.remove();
  };
  const retry = (event) => {
    if (event.target !== stream) return;
    lost(event.detail.ctx?.response?.status);
    setTimeout(connect, 10_000);
  };
  // htmx looks at the page first: it began to listen for this before us.
  if (stream) document.addEventListener("DOMContentLoaded", connect, { once: true });
  document.addEventListener("htmx:response:error", retry);
  document.addEventListener("htmx:error", retry);
  document.addEventListener("htmx:sse:error", (event) => lost(event.detail.status));
  document.addEventListener("htmx:sse:before:message", (event) => {
    if (!paused()) return;
    kept = true;
    event.preventDefault();
  });
  document.addEventListener("htmx:sse:after:message", () => {
    document.dispatchEvent(new Event("aegis:fresh"));
    // From the second time on, rows that are new light up for a moment.
    requestAnimationFrame(() => document.body.classList.add("live-on"));
  });
  pause?.addEventListener("click", () => {
    const now = !paused();
    pause.setAttribute("aria-pressed", String(now));
    pause.textContent = now ? "Resume" : "Pause";
    show("on", now ? "Paused" : "Live");
    if (!now && kept) location.reload();
  });
}
