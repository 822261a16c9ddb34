// Light or dark: as the system says, unless the reader chose. Loaded before the body is drawn.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function chosen() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden
    }
  }

  function keep(theme) {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // then the choice lasts as long as the page
    }
  }

  function apply(theme) {
    root.dataset.theme = theme;
    const other = theme === "dark" ? "light" : "dark";
    document.getElementById("theme")?.setAttribute("aria-label", `Use the ${other} theme`);
  }

  const current = () => chosen() ?? (dark.matches ? "dark" : "light");
  apply(current());
  dark.addEventListener("change", () => apply(current()));
  document.addEventListener("DOMContentLoaded", () => {
    apply(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", () => {
      apply(root.dataset.theme === "dark" ? "light" : "dark");
      keep(root.dataset.theme);
    });
  });
})();
