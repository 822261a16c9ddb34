// Light or dark theme: the system's, unless the user has chosen one. Runs before the first paint.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function chosen() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be disabled
    }
  }

  function keep(theme) {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // without storage, the choice lasts until the page is closed
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
