// Paper is white, whatever the screen was, and what is closed is opened on it.
addEventListener("beforeprint", () => {
  const { dataset } = document.documentElement;
  const { theme } = dataset;
  const closed = [...document.querySelectorAll("article details:not([open])")];
  const turn = (paper) => {
    dataset.theme = paper ? "light" : theme;
    for (const details of closed) details.open = paper;
  };
  turn(true);
  addEventListener("afterprint", () => turn(false), { once: true });
});
