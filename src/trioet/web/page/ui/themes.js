// Colours: of the terminal, and of what is around it.

const ANSI = [
  "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
  "brightBlack", "brightRed", "brightGreen", "brightYellow", "brightBlue", "brightMagenta",
  "brightCyan", "brightWhite",
];

function theme(dark, background, foreground, cursor, selection, colours) {
  const named = Object.fromEntries(colours.split(" ").map((colour, n) => [ANSI[n], `#${colour}`]));
  return {
    dark,
    colours: {
      background, foreground, cursor, cursorAccent: background,
      selectionBackground: selection, ...named,
    },
  };
}

export const THEMES = {
  "trioet dark": theme(true, "#10141b", "#dfe3ea", "#5ad1a5", "#2c4156",
    "3a4350 f07178 7bd88f f3c969 6ea8fe c792ea 5ac8d8 cfd6e1 5f6b7a ff8f95 9be9ab ffdb8a 94c1ff dbb2f5 86e1ee ffffff"),
  "trioet light": theme(false, "#fcfcfa", "#24292f", "#0d8a5f", "#cfe3f7",
    "24292f c4302b 1a7f37 8a5a00 0b62c4 8839ad 0a7280 5b6570 57606a a40e26 116329 6f4400 0550ae 6d2a91 075863 8c959f"),
  "solarized dark": theme(true, "#002b36", "#93a1a1", "#93a1a1", "#0a4a5a",
    "073642 dc322f 859900 b58900 268bd2 d33682 2aa198 eee8d5 586e75 cb4b16 93a31a c79b1d 4aa3dc 6c71c4 46b8af fdf6e3"),
  "solarized light": theme(false, "#fdf6e3", "#586e75", "#586e75", "#e4dcc2",
    "073642 dc322f 6f8000 9c7600 1f7fc1 d33682 20867e 93a1a1 586e75 cb4b16 586e75 657b83 839496 6c71c4 93a1a1 002b36"),
  nord: theme(true, "#2e3440", "#d8dee9", "#d8dee9", "#4c566a",
    "3b4252 bf616a a3be8c ebcb8b 81a1c1 b48ead 88c0d0 e5e9f0 616e88 d08770 b1cd9a f0d79e 8fb0d4 c39fbd 8fbcbb eceff4"),
  gruvbox: theme(true, "#282828", "#ebdbb2", "#ebdbb2", "#504945",
    "3c3836 fb4934 b8bb26 fabd2f 83a598 d3869b 8ec07c d5c4a1 928374 ff6a57 c8cb3c ffcb52 95b8aa e29cb0 a0d28d fbf1c7"),
  dracula: theme(true, "#282a36", "#f8f8f2", "#f8f8f2", "#44475a",
    "21222c ff5555 50fa7b f1fa8c bd93f9 ff79c6 8be9fd f8f8f2 6272a4 ff6e6e 69ff94 ffffa5 d6acff ff92df a4ffff ffffff"),
  monokai: theme(true, "#272822", "#f8f8f2", "#f8f8f2", "#49483e",
    "272822 f92672 a6e22e f4bf75 66d9ef ae81ff a1efe4 f8f8f2 75715e ff5c96 bdf04f ffd28e 8ee5f5 c4a3ff b8f7ee f9f8f5"),
  contrast: theme(true, "#000000", "#ffffff", "#ffff00", "#0050a0",
    "000000 ff5555 55ff55 ffff55 7aa2ff ff77ff 55ffff ffffff 9a9a9a ff8888 88ff88 ffff88 a0bfff ffa0ff 88ffff ffffff"),
};

export const AUTOMATIC = "auto"; // as the browser is

const dark = matchMedia("(prefers-color-scheme: dark)");

export const onBrowserTheme = (changed) => dark.addEventListener("change", changed);

const GOTTYS = { light: "trioet light", "solarized-dark": "solarized dark" }; // its names for what is here

/** The name here of a theme; undefined if there is none such. */
export function themeOf(word) {
  const name = GOTTYS[word] ?? word;
  return name === AUTOMATIC || Object.hasOwn(THEMES, name) ? name : undefined;
}

/** A theme, and single colours of the operator's in it: `{background: "#123", …}`. */
export function themeNamed(name, own = {}) {
  const automatic = dark.matches ? "trioet dark" : "trioet light";
  const found = THEMES[Object.hasOwn(THEMES, name) ? name : automatic];
  return { ...found, colours: { ...found.colours, ...own } };
}

const OWN = {
  foreground_color: "foreground",
  background_color: "background",
  cursor_color: "cursor",
  cursor_accent: "cursorAccent",
  selection_color: "selectionBackground",
};

/** The colours in GoTTY's preferences: by their names, and the sixteen of `color_palette_overrides`. */
export function coloursOf(preferences) {
  const palette = preferences.color_palette_overrides;
  const named = [
    ...Object.entries(OWN).map(([key, name]) => [name, preferences[key]]),
    ...ANSI.map((name, n) => [name, Array.isArray(palette) ? palette[n] : undefined]),
  ];
  return Object.fromEntries(
    named.filter(([, colour]) => typeof colour === "string" && CSS.supports("color", colour)),
  );
}
