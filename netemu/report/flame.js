// A click on a box makes it as wide as the graph, its callees in proportion; a click on a box that is so already goes back.
for (const graph of document.querySelectorAll(".flame")) {
  const boxes = [...graph.children].map((box) => ({
    box,
    left: parseFloat(box.style.left),
    width: parseFloat(box.style.width),
  }));
  let shown = null;
  const zoom = (target) => {
    shown = target;
    const { left, width } = target || { left: 0, width: 100 };
    for (const one of boxes) {
      const start = Math.max(one.left, left);
      const end = Math.min(one.left + one.width, left + width);
      one.box.hidden = end - start < 1e-4;
      one.box.style.left = (100 * (start - left)) / width + "%";
      one.box.style.width = (100 * (end - start)) / width + "%";
    }
  };
  for (const one of boxes) one.box.addEventListener("click", () => zoom(shown === one ? null : one));
}
