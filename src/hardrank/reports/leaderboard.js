"use strict";
document.body.classList.add("live");
document.querySelector(".filters").hidden = false;

function value(row, column) {
  const said = row.cells[column].dataset.v;
  return said === "" ? null : isNaN(said) ? said : Number(said);
}

function before(one, other, column, sign) {
  const doubt = row => Number(row.dataset.doubt);
  if (doubt(one) !== doubt(other)) return doubt(one) - doubt(other);
  const a = value(one, column), b = value(other, column);
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b));
}

for (const head of document.querySelectorAll(".sortable thead th")) {
  head.querySelector("button").addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...body.rows].sort((a, b) => before(a, b, head.cellIndex, up ? 1 : -1));
    body.append(...rows);
  });
}

const choices = [...document.querySelectorAll("[data-filter]")];
for (const choice of choices) {
  choice.addEventListener("change", () => {
    for (const board of document.querySelectorAll(".board")) {
      board.hidden = choices.some(c => c.value && board.dataset[c.dataset.filter] !== c.value);
    }
  });
}
