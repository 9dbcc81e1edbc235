"""The script of a page: sorts tables by a click on a column's name, and shows all rows of a long table.

Without scripts all rows are shown, in their order.
"""

SCRIPT = """
document.documentElement.classList.add("scripted");
for (const button of document.querySelectorAll("button.more"))
  button.onclick = () => { button.parentElement.classList.add("all"); button.remove(); };
const amount = text => {
  const found = text.replace(/\\u2212/g, "-").replace(/,/g, "").match(/^<? ?(-?[\\d.]+(?:e-?\\d+)?)/);
  return found ? parseFloat(found[1]) : NaN;
};
for (const table of document.querySelectorAll("table.sort"))
  table.querySelectorAll("th").forEach((head, column) => {
    if (!head.textContent.trim() || head.querySelector("div")) return;
    head.tabIndex = 0;
    head.classList.add("by");
    const sort = () => {
      const up = head.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0], sign = up ? 1 : -1;
      const rows = Array.from(body.rows, row => [row.cells[column].textContent.trim(), row]);
      rows.sort(([a], [b]) => {
        const x = amount(a), y = amount(b);
        if (isNaN(x) && isNaN(y)) return sign * a.localeCompare(b);
        return isNaN(x) ? 1 : isNaN(y) ? -1 : sign * (x - y);
      });
      body.append(...rows.map(([, row]) => row));
    };
    head.onclick = sort;
    head.onkeydown = event => { if (event.key === "Enter") sort(); };
  });
"""
