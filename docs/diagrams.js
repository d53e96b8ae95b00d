// Draws the diagrams of the book: mdBook leaves each as a block of code.
for (const code of document.querySelectorAll("code.language-mermaid")) {
    const diagram = document.createElement("pre");
    diagram.className = "mermaid";
    diagram.textContent = code.textContent;
    code.parentElement.replaceWith(diagram);
}
const dark = /\b(ayu|coal|navy)\b/.test(document.documentElement.className);
mermaid.initialize({ startOnLoad: false, theme: dark ? "dark" : "default" });
mermaid.run();
