// When the page sleeps, goes away, and comes back: nobody tells when a phone throws one away, so there
// a hidden page is as good as gone.

/** `putAway()` is called before the page may be gone, `back()` when it is not after all. */
export function watchSleep(putAway, back) {
  const phone = matchMedia("(pointer: coarse)");
  let away = false;
  const leave = () => {
    if (!away) putAway();
    away = true;
  };
  const enter = () => {
    if (away) back();
    away = false;
  };
  addEventListener("pagehide", leave);
  addEventListener("pageshow", enter);
  document.addEventListener("freeze", leave);
  document.addEventListener("resume", enter);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") enter();
    else if (phone.matches) leave();
  });
}

/** `wake()` is called when the network is another, or the page has been out of sight. */
export function watchNetwork(wake) {
  addEventListener("online", wake);
  navigator.connection?.addEventListener?.("change", wake);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") wake();
  });
}
