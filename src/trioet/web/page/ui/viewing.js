// Looking on at somebody's session: nothing here answers for the terminal that it is on.

const ANSWERED = [
  { final: "c" }, { prefix: ">", final: "c" }, { prefix: "=", final: "c" }, // what are you?
  { final: "n" }, { prefix: "?", final: "n" }, // where is the cursor?
  { intermediates: "$", final: "p" }, { prefix: "?", intermediates: "$", final: "p" }, // modes
  { prefix: ">", final: "q" }, { final: "t" }, // the version, the window
];
const COLOURS = [4, 10, 11, 12]; // OSC that ask, or set

/** Leave questions of programs to the owner's terminal: a second answer would be typed. */
export function answerNothing({ parser }) {
  for (const question of ANSWERED) parser.registerCsiHandler(question, () => true);
  parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => true);
  for (const number of COLOURS) {
    parser.registerOscHandler(number, (said) => said.split(";").includes("?"));
  }
}
