// The page of `trioet web`: one session on one terminal.

import "./page.css";

import {
  dial, Failed, config as askConfig, login, newSession, takeFragment, takeShare,
} from "./ui/api.js";
import { copy } from "./ui/clipboard.js";
import { $, Message } from "./ui/dom.js";
import { FileDrop } from "./ui/drop.js";
import { searchField } from "./ui/find.js";
import { KeysBar } from "./ui/keys.js";
import { logIn } from "./ui/login.js";
import { settingsPanel } from "./ui/panel.js";
import { plain } from "./ui/plain.js";
import { Quality } from "./ui/quality.js";
import { Screen } from "./ui/screen.js";
import { Settings } from "./ui/settings.js";
import { adoptStyles } from "./ui/sheets.js";
import { watchNetwork, watchSleep } from "./ui/sleep.js";
import { putAway, takeBack } from "./ui/store.js";
import { onBrowserTheme, themeNamed } from "./ui/themes.js";
import { Touch } from "./ui/touch.js";
import { Session } from "./session.js";

const LOOK_AGAIN_MS = 3_000; // between two questions whether a login is needed
const LONG_PASTE = 1024 * 1024; // bytes of which the progress is shown

adoptStyles(document);

const settings = new Settings();
const notice = new Message("#notice");
const toast = new Message("#toast");
const quality = new Quality(notice, () => begin());
const screen = new Screen($("#terminal"), {
  typed: (text) => typed(keys.modify(text)),
  typedBytes: (data) => files.busy || type((session) => session.type(data)),
  resized: () => session?.resize(screen.size),
  copied: offerCopy,
  hovered: showAddress,
});
const { terminal } = screen;
const keys = new KeysBar(terminal, (text) => terminal.input(text));
const files = new FileDrop(screen, notify);
const openSearch = searchField(screen);

let config = { title: "trioet", write: true, reconnect: null, columns: 0, rows: 0 };
let session = null; // null: it is over, or has not begun
let place = null; // {id, passkey, title, write} of the session
let again = null; // the timer of a session that begins by itself
let asked = -Infinity; // when the server was last asked for its configuration

// The life of a session

async function start() {
  const { token, session: given, share } = takeFragment();
  if (share) return lookOn(share);
  const kept = takeBack();
  if (kept) return goOn(kept);
  if (token) await login({ token }).catch((error) => notify(error.message));
  await configure();
  if (given) open({ ...given, title: config.title, write: config.write });
  else await begin();
}

/** Look on at a session that somebody shares. */
async function lookOn(share) {
  takeBack(); // of another session, that this tab had before
  for (;;) {
    try {
      open({ ...(await takeShare(share)), shared: true });
      return;
    } catch (error) {
      await failed(error);
    }
  }
}

/** Learn what the server says of itself; where it wants a login, ask for that first. */
async function configure() {
  for (;;) {
    try {
      const said = await askConfig();
      if (said.login !== "needed") {
        config = said;
        break;
      }
      await logIn(said.ways);
    } catch (error) {
      await failed(error);
    }
  }
  settings.fromServer(config.preferences);
  screen.fix(config);
}

/** Ask for a session, and begin it. */
async function begin() {
  clearTimeout(again);
  quality.stop();
  session?.stop();
  session = place = null;
  notice.hide();
  const words = new URLSearchParams(location.search).getAll("arg");
  for (;;) {
    try {
      open(await newSession(words));
      return;
    } catch (error) {
      if (error instanceof Failed && error.status === 401) await configure();
      else await failed(error);
    }
  }
}

/** Tell what went wrong, and return when it is to be tried again. */
function failed(error) {
  const hint = error.hint ? ` (${plain(error.hint)})` : "";
  const text = error instanceof Failed ? plain(error.message) + hint : "The server does not answer.";
  return new Promise((again) => {
    const retry = () => {
      removeEventListener("online", retry);
      notice.hide();
      again();
    };
    addEventListener("online", retry);
    notice.show(text, { kind: "bad", action: ["Try again", retry] });
  });
}

function makeSession(where) {
  place = where;
  screen.writable = place.write;
  keys.shown = place.write && settings.all.keys;
  $("#read-only").hidden = place.write;
  if (place.shared) screen.look();
  setTitle(place.title);
  const { id, passkey } = place;
  const made = new Session({
    id,
    passkey,
    dial: () => dial(config.query),
    screen: files,
    on: {
      changed: () => made === session && quality.look(),
      unopened,
      sized,
      noticed: (text) => notify(text),
      over: (how) => over(sentence(how)),
      refused: (text) => over(`The server refuses the session: ${plain(text)}.`),
      lost: () => over("The server does not know this session any more."),
    },
  });
  files.attach(made, place);
  return made;
}

function open(where) {
  session = makeSession(where);
  session.begin(screen.size);
  quality.watch(session);
  terminal.focus();
}

/** Go on where the page was when it went away. */
function goOn({ session: kept, screen: drawing }) {
  config = kept.config;
  settings.fromServer(config.preferences);
  session = makeSession(kept.place);
  setTitle(kept.title);
  screen.restore(drawing, kept.terminal, (amount) => session?.shown(amount));
  session.resume(kept.session);
  screen.fix(config);
  session.resize(screen.size);
  if (kept.terminal.alternate) session.redraw();
  if (kept.moving) files.wasMoving();
  quality.watch(session);
  terminal.focus();
}

function keep() {
  if (session === null) return;
  const kept = {
    session: session.save(),
    place,
    config,
    title: $("#title").textContent,
    terminal: screen.save(),
    moving: files.busy,
  };
  putAway(kept, screen.drawings);
}

function comeBack() {
  if (session === null) return;
  takeBack(); // we have it all here
  session.reconnector.start();
}

/** A WebSocket never opened, and the browser does not say why: perhaps a login is needed. */
async function unopened() {
  if (Date.now() - asked < LOOK_AGAIN_MS) return;
  asked = Date.now();
  const said = await askConfig().catch(() => null);
  if (said?.login !== "needed" || session === null) return;
  await logIn(said.ways);
  terminal.focus();
  session?.wake();
}

/** The terminal at which we look on has another size, behind all that came before. */
function sized(size) {
  config = { ...config, ...size };
  screen.whenShown(() => screen.fix(config));
}

function over(text) {
  session = null;
  files.attach(null);
  quality.stop();
  if (place.shared) {
    screen.whenShown(() => notice.show(text, { kind: "over" }));
    return;
  }
  screen.whenShown(() => {
    const seconds = config.reconnect ?? null;
    const wait = seconds === null ? "" : `, or wait ${seconds} s`;
    notice.show(`${text} Enter begins a new one${wait}.`, {
      kind: "over",
      action: ["New session", anew],
    });
    if (wait) again = setTimeout(anew, 1000 * seconds);
  });
}

function anew() {
  screen.leaveModes();
  begin();
}

function sentence({ status, signal, reason }) {
  if (reason) return `The session is over: ${plain(reason)}.`;
  if (signal !== null) return `The session is over, ended by signal ${signal}.`;
  return `The session is over, with exit status ${status}.`;
}

// What the user does

function typed(text) {
  if (!files.typed(text)) type((session) => session.typeText(text));
}

function type(say) {
  if (session === null) return;
  say(session);
  showBacklog();
}

/** Tell how much of a long paste is still to be sent. */
function showBacklog() {
  const badge = $("#paste");
  const waiting = session?.backlog ?? 0;
  if (waiting < LONG_PASTE && badge.hidden) return;
  badge.hidden = waiting === 0;
  badge.textContent = `pasting: ${(waiting / 1e6).toFixed(1)} MB to go`;
  if (waiting) setTimeout(showBacklog, 250);
}

async function offerCopy(text) {
  if (!text) return;
  if (await copy(text)) {
    toast.show("Copied.", { seconds: 2 });
    return;
  }
  const done = async () => {
    toast.hide();
    await copy(text);
  };
  toast.show(`The program wants to copy ${text.length} characters.`, {
    action: ["Copy", done],
    seconds: 20,
  });
}

/** What was selected by a finger: there is no key to copy it by. */
function offerSelection(text) {
  const done = async () => {
    await offerCopy(text);
    terminal.clearSelection();
  };
  toast.show(`${text.length} characters are selected.`, { action: ["Copy", done], seconds: 20 });
}

function copySelection() {
  const selected = terminal.getSelection();
  if (selected) offerCopy(selected);
}

terminal.attachCustomKeyEventHandler((event) => {
  if (event.type !== "keydown") return true;
  if (session === null && event.key === "Enter" && notice.shown) {
    $("#notice button").click();
    return false;
  }
  if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
  const act = {
    KeyC: copySelection,
    KeyF: openSearch,
    KeyV: null, // the browser pastes, and xterm.js takes that
  };
  if (!(event.code in act)) return true;
  if (act[event.code]) {
    event.preventDefault();
    act[event.code]();
  }
  return false;
});

terminal.onSelectionChange(() => {
  if (settings.all.copy && terminal.hasSelection()) copy(terminal.getSelection());
});

// What programs do

function setTitle(text) {
  const title = plain(text) || "trioet";
  $("#title").textContent = title;
  document.title = title;
}

terminal.onTitleChange((text) => setTitle(text || place?.title || ""));

terminal.onBell(() => {
  const { bell } = settings.all;
  if (document.hidden && bell !== "off") document.title = `• ${$("#title").textContent}`;
  if (bell === "sound") beep();
  if (bell !== "flash") return;
  const { classList } = $("#terminal");
  classList.remove("rung");
  requestAnimationFrame(() => classList.add("rung"));
});

let audio = null;

function beep() {
  audio ??= new AudioContext();
  const tone = new OscillatorNode(audio, { frequency: 660 });
  tone.connect(new GainNode(audio, { gain: 0.05 })).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.12);
}

function showAddress(text) {
  const shown = $("#address");
  shown.textContent = plain(text, 500);
  shown.hidden = !text;
}

function notify(text) {
  toast.show(plain(text), { seconds: 6 });
}

// How it looks

function apply(all) {
  const { dark, colours } = themeNamed(all.theme, all.colours);
  const root = document.documentElement;
  root.classList.toggle("light", !dark);
  root.style.setProperty("--background", colours.background);
  root.style.setProperty("--foreground", colours.foreground);
  root.style.setProperty("--accent", colours.green);
  $("#bar").hidden = !all.bar;
  keys.shown = all.keys && (place?.write ?? true);
  screen.apply(all);
}

settings.onChange(apply);
onBrowserTheme(() => apply(settings.all));
$("#open-search").addEventListener("click", openSearch);
$("#open-settings").addEventListener(
  "click",
  settingsPanel(settings, { end: () => session?.leave(), closed: () => terminal.focus() }),
);
// Not every browser makes room for a phone's keyboard by itself.
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale > 1) return; // the user looks closer
  document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = $("#title").textContent;
});

$("#terminal").terminal = terminal; // for bookmarklets, extensions and tests
screen.open();
new Touch(terminal, $("#terminal"), { selected: offerSelection });
apply(settings.all);
watchSleep(keep, comeBack);
watchNetwork(() => session?.wake());
start();
