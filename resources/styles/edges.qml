<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<!-- Nothing where there is no edge, so that the image shows through. -->
<qgis version="3.22.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="singlebandpseudocolor" opacity="1" nodataColor="" band="1" alphaBand="-1" classificationMax="1" classificationMin="0">
      <rastershader>
        <colorrampshader labelPrecision="6" colorRampType="INTERPOLATED" clip="0" classificationMode="1" minimumValue="0" maximumValue="1">
          <item label="0" alpha="0" value="0" color="#ffb000"/>
          <item label="0.15" alpha="60" value="0.15" color="#ffb000"/>
          <item label="0.5" alpha="255" value="0.5" color="#ffb000"/>
          <item label="1" alpha="255" value="1" color="#ffffa0"/>
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
