/** Run a script of the site, after those that were asked for before. */
export function load(address) {
  const script = document.createElement("script");
  script.src = address;
  script.async = false;
  document.head.append(script);
}
