// Ketcher with all of its own functions, and pictures recognized by MolGaze under `molgaze/`.

import "ketcher-react/dist/index.css";

import { RemoteStructService } from "ketcher-core";
import { Editor } from "ketcher-react";
import { StandaloneStructServiceProvider } from "ketcher-standalone";
import { createElement } from "react";
import { createRoot } from "react-dom/client";

// No address with a port: Ketcher takes the port for the name of a parameter.
const molgaze = new RemoteStructService("molgaze/", {});

class Provider extends StandaloneStructServiceProvider {
  createStructService(options) {
    const service = super.createStructService(options);
    const info = service.info.bind(service);
    service.info = async () => ({ ...(await info()), imagoVersions: (await molgaze.info()).imagoVersions });
    service.recognize = (blob, version) => molgaze.recognize(blob, version);
    return service;
  }
}

createRoot(document.getElementById("root")).render(createElement(Editor, {
  staticResourcesUrl: "",
  structServiceProvider: new Provider(),
  errorHandler: (message) => console.error(message),
  onInit: (ketcher) => { window.ketcher = ketcher; },
}));
