// The ways to give a file to the page: choose, drop, paste, or try a sample.

import { $, showError } from "./page.js";

/** Call back with each file that the user gives. */
export function onFile(callback) {
  $("file").addEventListener("change", () => {
    if ($("file").files.length) callback($("file").files[0]);
    $("file").value = ""; // allows the user to choose the same file again
  });
  for (const button of document.querySelectorAll("[data-sample]")) {
    button.addEventListener("click", () => fetchSample(button.dataset.sample, callback));
  }
  document.addEventListener("paste", (event) => accept(event, event.clipboardData, callback));
  for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => highlight(event, true));
  for (const name of ["dragleave", "dragend"]) document.addEventListener(name, (event) => highlight(event, false));
  document.addEventListener("drop", (event) => {
    highlight(event, false);
    accept(event, event.dataTransfer, callback);
  });
}

function highlight(event, over) {
  event.preventDefault();
  $("stage").classList.toggle("dropping", over);
}

function accept(event, transfer, callback) {
  const file = transfer?.files[0];
  if (!file) return;
  event.preventDefault();
  callback(file);
}

async function fetchSample(address, callback) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) return showError("The sample could not be loaded.");
  const blob = await response.blob();
  callback(new File([blob], address.split("/").at(-1), { type: blob.type }));
}
