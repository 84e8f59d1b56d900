"""Type errors of users; mypy --strict and pyright report each line with `# wrong`.

Never run: `make types` reads it.
"""

import numpy as np

import cdl
from cdl import layers, ops
from cdl.layers import Dense

x = np.ones((8, 4), np.float32)
model = cdl.Sequential([Dense(3)])

Dense("a")  # wrong
Dense(units="a")  # wrong
Dense()  # wrong
Dense(32, activaton="relu")  # wrong
layers.Dropout(0.5, sed=7)  # wrong
layers.Flatten(nme="f")  # wrong
layers.Conv2D(32, 3, stride=2)  # wrong
Dense(3).untis  # wrong

model.fit(x, x, epoch=3)  # wrong
model.fit(x, x, epochs="3")  # wrong
model.compile("adam", "mse", metric=["x"])  # wrong
model.evaluate(x, x, returndict=True)  # wrong
model.predict(x, verbos=0)  # wrong
model.predict()  # wrong
model.save()  # wrong
model.sumary()  # wrong
model.layers.ad(Dense(3))  # wrong
model.layers[0].wieghts  # wrong

model.fit(x, x).histroy  # wrong
cdl.callbacks.History().model.sumary()  # wrong
cdl.models.save_model("model.keras", model)  # wrong
cdl.models.clone_model(Dense(3))  # wrong
cdl.Input((4,)).shap  # wrong
cdl.models.load_model()  # wrong
cdl.optimizers.Adam(0.1, beta_1="0.9")  # wrong

ops.mean(x, axs=1)  # wrong
ops.softmax(cdl.Input((4,)), axis="last")  # wrong
ops.tanh(cdl.Input((4,))).shap  # wrong
(cdl.Input((4,)) * 2).shap  # wrong
cdl.losses.Quantile(quantile=0.5)  # wrong
cdl.serving.Batcher(model, max_row=3)  # wrong
cdl.serving.ModelHolder()  # wrong
