// The course in JupyterLab. A federated extension as JupyterLab's own builder would make
// one, written by hand: nothing to compile, and what it needs JupyterLab shares with it.
(() => {
  'use strict';

  const NAME = 'course-lab';
  const CONTENTS_SHOWN = 'course-lab:contents-shown';
  let shared;

  async function load(name) {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  // As course_utils.alt_text.stored_text.
  function alternativeText(model, mimeType) {
    const title = model.data['text/plain'];
    const text = model.metadata[mimeType]?.alt
      || (Array.isArray(title) ? title.join('') : title) || '';
    const line = text.split(/\s+/).join(' ').trim().replace(/^Figure: /, '');
    return !line || line.startsWith('<') ? 'Picture' : line;
  }

  async function pictures() {
    const { IRenderMimeRegistry, RenderedImage, imageRendererFactory } =
      await load('@jupyterlab/rendermime');

    class DescribedImage extends RenderedImage {
      constructor(options) {
        super(options);
        this.kind = options.mimeType;
      }

      async render(model) {
        await super.render(model);
        const picture = this.node.querySelector('img');
        if (picture) picture.alt = alternativeText(model, this.kind);
      }
    }

    return {
      id: `${NAME}:pictures`,
      description: 'Gives the pictures in outputs their alternative text.',
      autoStart: true,
      requires: [IRenderMimeRegistry],
      activate: (app, registry) => {
        const createRenderer = options => new DescribedImage(options);
        registry.addFactory({ ...imageRendererFactory, createRenderer });
      },
    };
  }

  async function start() {
    const { PageConfig } = await load('@jupyterlab/coreutils');

    async function openFirstPage(app) {
      const page = PageConfig.getOption('courseFirstPage');
      const open = [...app.shell.widgets('main')];
      if (!page || open.some(one => one.context)) return;
      // A hub's address names the folder with the lessons.
      const folder = PageConfig.getOption('treePath');
      const contents = app.serviceManager.contents;
      try {
        const { type } = await contents.get(folder, { content: false });
        const inside = type === 'directory' && (await contents.get(folder)).content;
        if (!inside || !inside.some(({ name }) => name === page)) return;
      } catch {
        return;  // there is no such folder
      }
      const path = folder ? `${folder}/${page}` : page;
      await app.commands.execute('docmanager:open', { path });
      open.forEach(launcher => launcher.close());
    }

    // Once; later it stays where the reader put it.
    function showContents(app) {
      if (localStorage.getItem(CONTENTS_SHOWN)) return;
      app.shell.activateById('table-of-contents');
      localStorage.setItem(CONTENTS_SHOWN, 'yes');
    }

    return {
      id: `${NAME}:start`,
      description: 'Opens the first page where nothing else is open.',
      autoStart: true,
      activate: app => {
        app.restored.then(async () => {
          await openFirstPage(app);
          showContents(app);
        });
      },
    };
  }

  const modules = {
    './extension': async () => {
      const plugins = await Promise.all([pictures(), start()]);
      return () => ({ __esModule: true, default: plugins });
    },
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: scope => { shared = scope; },
    get: name => modules[name](),
  };
})();
